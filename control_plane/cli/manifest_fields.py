"""Which fields each part of an s.yaml may have, per edition, and which of them have no effect here.

The lists are those of the FC components' schemas. A field that Stoke cannot honour is accepted, so that a file that
deploys to Function Compute deploys here too, but it is named in a note: nothing is dropped in silence.
"""

from __future__ import annotations

from typing import Final

_LIFECYCLE_HOOK: Final = frozenset({"handler", "timeout", "command"})
HEALTH_CHECK: Final = frozenset(
    {
        "httpGetUrl",
        "initialDelaySeconds",
        "periodSeconds",
        "timeoutSeconds",
        "failureThreshold",
        "successThreshold",
    }
)
HTTP_CONFIG: Final = frozenset({"authType", "methods", "disableURLInternet", "authConfig", "corsConfig", "stoke"})
LOG_CONFIG: Final = frozenset({"project", "logstore", "enableRequestMetrics", "enableInstanceMetrics", "logBeginRule"})

# -- edition 1.0.0: component fc, FC 2.0 ---------------------------------------------------------------------------

TOP_1: Final = frozenset({"edition", "name", "access", "vars", "services", "actions", "plugins", "extend"})
ENTRY_1: Final = frozenset({"component", "props", "access", "actions", "extend"})
PROPS_1: Final = frozenset({"region", "service", "function", "triggers", "customDomains"})
SERVICE_1: Final = frozenset(
    {
        "name",
        "description",
        "internetAccess",
        "role",
        "logConfig",
        "vpcConfig",
        "vpcBinding",
        "nasConfig",
        "ossMountConfig",
        "tracingConfig",
    }
)
FUNCTION_1: Final = frozenset(
    {
        "name",
        "description",
        "codeUri",
        "ossBucket",
        "ossKey",
        "handler",
        "runtime",
        "memorySize",
        "cpu",
        "diskSize",
        "timeout",
        "caPort",
        "instanceConcurrency",
        "instanceSoftConcurrency",
        "instanceType",
        "gpuMemorySize",
        "environmentVariables",
        "initializer",
        "initializationTimeout",
        "customContainerConfig",
        "customRuntimeConfig",
        "customHealthCheckConfig",
        "instanceLifecycleConfig",
        "asyncConfiguration",
        "disableOndemand",
        "customDNS",
        "layers",
        "stoke",
    }
)
TRIGGER_1: Final = frozenset({"name", "type", "qualifier", "role", "sourceArn", "description", "config"})
ASYNC_1: Final = frozenset(
    {
        "destination",
        "destinationConfig",
        "maxAsyncEventAgeInSeconds",
        "maxAsyncRetryAttempts",
        "statefulInvocation",
    }
)
DOMAIN_1: Final = frozenset({"domainName", "protocol", "routeConfigs", "certConfig"})
ROUTE_1: Final = frozenset({"path", "serviceName", "functionName", "qualifier", "methods"})
NESTED_1: Final = {
    "customContainerConfig": frozenset(
        {"image", "command", "args", "accelerationType", "instanceID", "webServerMode", "registryConfig"}
    ),
    "customRuntimeConfig": frozenset({"command", "args"}),
    "customHealthCheckConfig": HEALTH_CHECK,
    "instanceLifecycleConfig": frozenset({"preFreeze", "preStop"}),
}
HOOKS_1: Final = {"preFreeze": _LIFECYCLE_HOOK, "preStop": _LIFECYCLE_HOOK}

# -- edition 3.0.0: component fc3, FC 3.0 --------------------------------------------------------------------------

TOP_3: Final = frozenset({"edition", "name", "access", "vars", "resources", "template", "actions", "plugins"})
ENTRY_3: Final = frozenset({"component", "props", "access", "actions", "extend"})
PROPS_3: Final = frozenset(
    {
        "region",
        "endpoint",
        "functionName",
        "runtime",
        "handler",
        "code",
        "description",
        "role",
        "cpu",
        "memorySize",
        "diskSize",
        "timeout",
        "instanceConcurrency",
        "internetAccess",
        "disableOndemand",
        "environmentVariables",
        "layers",
        "stoke",
        "gpuConfig",
        "customContainerConfig",
        "customRuntimeConfig",
        "customDNS",
        "instanceLifecycleConfig",
        "logConfig",
        "vpcConfig",
        "vpcBinding",
        "nasConfig",
        "ossMountConfig",
        "tracingConfig",
        "tags",
        "sessionAffinity",
        "sessionAffinityConfig",
        "triggers",
        "asyncInvokeConfig",
        "customDomain",
        "provisionConfig",
        "scalingConfig",
        "concurrencyConfig",
    }
)
TRIGGER_3: Final = frozenset(
    {"triggerName", "triggerType", "triggerConfig", "qualifier", "description", "invocationRole", "sourceArn"}
)
ASYNC_3: Final = frozenset(
    {"qualifier", "destinationConfig", "maxAsyncEventAgeInSeconds", "maxAsyncRetryAttempts", "asyncTask"}
)
_DOMAIN_3: Final = frozenset({"domainName", "protocol", "authConfig", "certConfig", "tlsConfig", "wafConfig"})
DOMAIN_3: Final = _DOMAIN_3 | {"route"}
DOMAIN_COMPONENT_3: Final = _DOMAIN_3 | {"region", "routeConfig"}
ROUTE_3: Final = frozenset({"path", "functionName", "qualifier", "methods", "rewriteConfig"})
NESTED_3: Final = {
    "gpuConfig": frozenset({"gpuType", "gpuMemorySize"}),
    "customContainerConfig": frozenset(
        {
            "image",
            "port",
            "command",
            "entrypoint",
            "healthCheckConfig",
            "registryConfig",
            "accelerationType",
            "acrInstanceId",
        }
    ),
    "customRuntimeConfig": frozenset({"command", "args", "port", "healthCheckConfig"}),
    "instanceLifecycleConfig": frozenset({"initializer", "preStop"}),
}
HOOKS_3: Final = {"initializer": _LIFECYCLE_HOOK, "preStop": _LIFECYCLE_HOOK}

# -- what is accepted and does nothing -----------------------------------------------------------------------------

NO_EFFECT: Final = {
    "actions": "is not run: Stoke deploys what the file describes and runs no commands of it",
    "plugins": "is not run: Stoke has no plugins",
    "certConfig": "has no effect: over TLS a domain is served with the gateway's certificate",
    "tlsConfig": "has no effect: over TLS a domain is served as the gateway is",
    "wafConfig": "has no effect: there is no firewall of applications here",
    "endpoint": "has no effect: use --endpoint or STOKE_ENDPOINT",
    "layers": "has no effect: put what the function needs into its code folder",
    "customDNS": "has no effect: instances resolve names as their machine does",
    "vpcConfig": "has no effect: instances use their machine's network",
    "vpcBinding": "has no effect: instances use their machine's network",
    "ossMountConfig": "has no effect: there is no object store here; nasConfig mounts what there is",
    "tracingConfig": "has no effect: no traces are sent",
    "preFreeze": "has no effect: instances are never frozen",
    "sessionAffinity": "has no effect: any instance may take any request",
    "sessionAffinityConfig": "has no effect: any instance may take any request",
    "concurrencyConfig": "has no effect: no capacity is reserved for a function",
    "tags": "has no effect: functions are not looked up by tags",
}
