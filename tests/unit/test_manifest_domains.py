"""Custom domains and configs of asynchronous invocations in a deployment file of either edition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control_plane.cli.failures import BadInput
from control_plane.cli.manifest import Manifest, load_manifest

FIRST = """
edition: 1.0.0
services:
  one:
    component: fc
    props:
      service: {name: svc}
      function: {name: fn, runtime: custom, handler: not-used%s}
%s
"""
THIRD = """
edition: 3.0.0
resources:
  one:
    component: fc3
    props:
      region: cn-local
      functionName: fn
      runtime: custom
%s
"""
DOMAIN = """
  shop:
    component: fc3-domain
    props:
      region: cn-local
      domainName: shop.example.com
      protocol: http
      routeConfig: {routes: [%s]}
"""


def read(folder: Path, text: str) -> Manifest:
    path = folder / "s.yaml"
    path.write_text(text)
    return load_manifest(path, {})


def problem(folder: Path, text: str) -> str:
    with pytest.raises(BadInput) as caught:
        read(folder, text)
    return str(caught.value).removeprefix(f"{folder}/s.yaml:")


def first(function: str = "", props: str = "") -> str:
    return FIRST % (f", {function}" if function else "", f"      {props}" if props else "")


def route(path: str, function: str = "fn", service: str = "svc", qualifier: str = "LATEST") -> dict[str, Any]:
    return {"path": path, "serviceName": service, "functionName": function, "qualifier": qualifier}


def test_routes_of_the_first_edition_lead_to_their_own_function_unless_they_say_another(tmp_path: Path) -> None:
    routes = "[{path: /a/*, methods: [get]}, {path: /b, functionName: other, qualifier: prod}]"
    text = first(props=f"customDomains: [{{domainName: Shop.example.com, protocol: HTTP, routeConfigs: {routes}}}]")
    ((domain,),) = [plan.domains for plan in read(tmp_path, text).plans]
    assert (domain.name, domain.protocol, domain.owner) == ("shop.example.com", "HTTP", ("svc", "fn"))
    assert domain.routes == (route("/a/*") | {"methods": ["GET"]}, route("/b", "other", qualifier="prod"))


def test_the_third_edition_has_one_route_a_function_or_a_domain_of_its_own(tmp_path: Path) -> None:
    of_function = "      customDomain: {domainName: shop.example.com, protocol: HTTP, route: {path: /a}}"
    manifest = read(tmp_path, THIRD % of_function + DOMAIN % "{path: /b, functionName: svc$other}")
    ((domain,),) = [plan.domains for plan in manifest.plans]
    assert (domain.routes, domain.owner) == ((route("/a", service="fn"),), ("fn", "fn"))
    (own,) = manifest.domains
    assert (own.key, own.protocol, own.owner, own.routes) == ("shop", "HTTP", None, (route("/b", "other"),))


@pytest.mark.parametrize("name", ["auto", "Auto"])
def test_a_name_that_the_cloud_would_make_up_is_told_of(name: str, tmp_path: Path) -> None:
    manifest = read(tmp_path, THIRD % f"      customDomain: {{domainName: {name}, route: {{path: /}}}}")
    assert manifest.plans[0].domains == ()
    assert "customDomain.domainName: has no effect: no domain is made here" in manifest.notes[0]


def test_a_certificate_is_not_sent_and_told_of(tmp_path: Path) -> None:
    given = (
        "      customDomain: {domainName: a.example, route: {path: /}, certConfig: {certName: c, privateKey: secret}}"
    )
    manifest = read(tmp_path, THIRD % given)
    assert "secret" not in repr(manifest.plans[0].domains)
    assert "customDomain.certConfig: has no effect" in manifest.notes[0]


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ("{domainName: a.example, rout: {}}", "customDomain.rout: unknown field; did you mean route?"),
        ("{domainName: a.example}", "customDomain: the field route is required"),
        ("{domainName: 10.0.0.1, route: {path: /}}", 'customDomain.domainName: "10.0.0.1" is not allowed'),
        ("{domainName: a.example, route: {path: a}}", 'customDomain.route.routes[0].path: "a" is not allowed'),
        ("{domainName: a.example, protocol: FTP, route: {path: /}}", 'customDomain.protocol: "FTP" is not allowed'),
        ("{domainName: a.example, route: {path: /, rewriteConfig: {equalRules: []}}}", "rewriteConfig: not supported"),
        ("{domainName: a.example, authConfig: {authType: jwt}, route: {path: /}}", "authConfig: not supported"),
    ],
)
def test_what_is_wrong_with_a_domain_is_named(domain: str, said: str, tmp_path: Path) -> None:
    assert said in problem(tmp_path, THIRD % f"      customDomain: {domain}")


def test_one_path_does_not_lead_to_two_functions(tmp_path: Path) -> None:
    of_function = "      customDomain: {domainName: shop.example.com, protocol: HTTP, route: {path: /a}}"
    said = problem(tmp_path, THIRD % of_function + DOMAIN % "{path: /a, functionName: other}")
    assert "the custom domain shop.example.com leads /a to fn/fn and other/other" in said


def test_destinations_are_written_as_texts_in_the_first_edition_and_as_the_api_has_them_in_the_third(
    tmp_path: Path,
) -> None:
    to = "acs:fc:::services/svc/functions/done"
    config = f"asyncConfiguration: {{destination: {{onSuccess: '{to}'}}, maxAsyncRetryAttempts: 2}}"
    plan = read(tmp_path, first(config)).plans[0]
    wanted = {"destinationConfig": {"onSuccess": {"destination": to}}, "maxAsyncRetryAttempts": 2}
    assert plan.async_invoke == {"LATEST": wanted}
    assert "asyncConfiguration" not in plan.function
    config = f"      asyncInvokeConfig: {{qualifier: live, destinationConfig: {{onSuccess: {{destination: '{to}'}}}},"
    plan = read(tmp_path, THIRD % f"{config} maxAsyncRetryAttempts: 2}}").plans[0]
    assert plan.async_invoke == {"live": wanted}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{maxAsyncRetryAttempts: 9}", "asyncInvokeConfig.maxAsyncRetryAttempts: 9 is not allowed"),
        ("{maxRetries: 1}", "asyncInvokeConfig.maxRetries: unknown field"),
        ("{destinationConfig: {onSuccess: {destination: nowhere}}}", "onSuccess.destination: 'nowhere' is not allowed"),
        ("{destinationConfig: {onDone: {}}}", "destinationConfig.onDone: unknown field"),
    ],
)
def test_what_is_wrong_with_an_asynchronous_config_is_named(config: str, said: str, tmp_path: Path) -> None:
    assert said in problem(tmp_path, THIRD % f"      asyncInvokeConfig: {config}")


@pytest.mark.parametrize("text", [first("disableOndemand: true"), THIRD % "      disableOndemand: true"])
def test_a_function_may_be_for_provisioned_instances_alone(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text).plans[0].function["disableOndemand"] is True
