"""The manifests in deploy/kubernetes: what they name is there, and what they set is known to the programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.backends.kubernetes.settings import read_settings
from control_plane.backends.pools import read_pools
from control_plane.settings import ControlPlaneSettings
from runtime.gateway.settings import GatewaySettings
from runtime.gateway.settings import read_settings as read_gateway_settings

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
Object = dict[str, Any]
# What an operator makes by hand: docs/kubernetes-deploy.md has the command.
BY_HAND = {
    "stoke-keys": {
        "credentials.json", "secret.key", "store-url", "valkey-password", "metrics-user", "metrics-password",
    },
}  # fmt: skip


def documents() -> list[Object]:
    files = [*ROOT.glob("base/*.yaml"), *ROOT.glob("components/*/*.yaml")]
    found = [each for path in sorted(files) for each in yaml.safe_load_all(path.read_text())]
    return [each for each in found if each.get("kind") not in (None, "Kustomization", "Component")]


ALL = documents()


def of(*kinds: str) -> list[Object]:
    return [each for each in ALL if each["kind"] in kinds]


def templates() -> dict[str, Object]:
    return {each["metadata"]["name"]: each["spec"]["template"] for each in of("Deployment", "StatefulSet")}


def settings_map() -> set[str]:
    made = yaml.safe_load((ROOT / "base" / "kustomization.yaml").read_text())["configMapGenerator"]
    return {each["name"] for each in made}


def matches(selector: Object, labels: Object) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def every(item: Any, name: str) -> Iterator[Any]:
    """What has this name, at any depth."""
    if isinstance(item, dict):
        for key, value in item.items():
            if key == name:
                yield value
            yield from every(value, name)
    elif isinstance(item, list):
        for value in item:
            yield from every(value, name)


def test_each_file_is_in_a_kustomization_and_each_name_is_given_once() -> None:
    for path in ROOT.rglob("kustomization.yaml"):
        said = yaml.safe_load(path.read_text())
        listed = {*said.get("resources", []), *said.get("components", [])}
        listed |= {name for made in said.get("configMapGenerator", []) for name in made["files"]}
        assert [name for name in listed if not (path.parent / name).exists()] == []
        beside = {each.name for each in path.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert beside <= listed, f"{path} leaves something out"
    names = [(each["kind"], each["metadata"]["name"]) for each in ALL]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(templates()))
def test_a_workload_selects_its_own_pods_and_runs_with_the_least_it_needs(name: str) -> None:
    template = templates()[name]
    workload = next(each for each in of("Deployment", "StatefulSet") if each["metadata"]["name"] == name)
    assert matches(workload["spec"]["selector"]["matchLabels"], template["metadata"]["labels"])
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is (name == "stoke-control-plane")
    assert spec["enableServiceLinks"] is False, "their variables begin with STOKE_"
    volumes = {each["name"] for each in spec["volumes"]} if "volumes" in spec else set()
    volumes |= {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])}
    for container in spec["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert {each["name"] for each in container["volumeMounts"]} == volumes
        ports = {each["name"] for each in container["ports"]}
        asked = {probe["port"] for probe in every(container, "tcpSocket")}
        assert asked <= ports
        assert "readinessProbe" in container
        assert container["resources"]["limits"]["memory"]


def test_services_monitors_budgets_and_policies_select_what_there_is() -> None:
    pods = [each["metadata"]["labels"] for each in templates().values()]
    pods.append({"app.kubernetes.io/managed-by": "stoke"})  # an instance's
    ports = {
        (name, port["name"])
        for name, template in templates().items()
        for container in template["spec"]["containers"]
        for port in container["ports"]
    }
    for service in of("Service"):
        chosen = [
            name for name, t in templates().items() if matches(service["spec"]["selector"], t["metadata"]["labels"])
        ]
        assert len(chosen) == 1, service["metadata"]["name"]
        assert {(chosen[0], port["targetPort"]) for port in service["spec"]["ports"]} <= ports
    for selected in [*of("PodDisruptionBudget"), *of("NetworkPolicy")]:
        selectors = [*every(selected, "matchLabels")]
        assert all(any(matches(each, labels) for labels in pods) for each in selectors), selected["metadata"]["name"]
        for port in every(selected.get("spec", {}).get("ingress", []), "port"):
            assert port in {name for _, name in ports}
    for monitor in of("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        services = [each for each in of("Service") if matches(wanted, each["metadata"].get("labels", {}))]
        assert len(services) == 1
        named = {port["name"] for port in services[0]["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= named


def test_secrets_config_maps_claims_and_accounts_that_are_named_exist() -> None:
    for reference in [*every(ALL, "secretKeyRef"), *every(ALL, "username"), *every(ALL, "password")]:
        assert reference["key"] in BY_HAND[reference["name"]]
    assert {each["secretName"] for each in every(ALL, "secret")} <= BY_HAND.keys()
    assert {each["name"] for each in every(ALL, "configMap")} <= settings_map()
    claims = {each["metadata"]["name"] for each in of("PersistentVolumeClaim")}
    assert set(every(ALL, "claimName")) <= claims
    accounts = {each["metadata"]["name"] for each in of("ServiceAccount")}
    assert set(every(ALL, "serviceAccountName")) <= accounts
    for binding in of("RoleBinding", "ClusterRoleBinding"):
        assert {each["name"] for each in binding["subjects"]} <= accounts
        kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
        assert name in {each["metadata"]["name"] for each in of(kind)}


def test_the_control_plane_may_do_no_more_than_keep_pods_and_look_at_nodes() -> None:
    rules = {
        (role["kind"], resource): set(rule["verbs"])
        for role in of("Role", "ClusterRole")
        for rule in role["rules"]
        for resource in rule["resources"]
        if rule["apiGroups"] == [""]
    }
    assert rules == {
        ("Role", "pods"): {"create", "get", "list", "watch", "delete", "patch"},
        ("Role", "pods/log"): {"get"},
        ("Role", "secrets"): {"create", "delete"},  # neither shows what is in one
        ("ClusterRole", "nodes"): {"get", "list", "watch"},
    }


def test_the_control_planes_variables_are_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = templates()["stoke-control-plane"]["spec"]["containers"]
    given = {each["name"]: each.get("value", "") for each in container["env"]}
    given |= {"STOKE_STORE": "redis://:x@stoke-valkey:6379", "STOKE_NAMESPACE": "stoke"}
    fields = {f"STOKE_{name.upper()}" for name in ControlPlaneSettings.model_fields}
    assert given.keys() - {"POD_IP"} <= fields
    for name, value in given.items():
        monkeypatch.setenv(name, value.replace("$(POD_IP)", "10.0.0.7"))
    settings = ControlPlaneSettings()
    assert settings.leader_lease_s > 0.0, "there are two of them"
    assert settings.reached_at == "tcp:10.0.0.7:9001"
    assert settings.listen.endswith(":9001")


def test_the_gateways_arguments_are_its_own_and_lead_to_the_control_plane(tmp_path: Path) -> None:
    (container,) = templates()["stoke-gateway"]["spec"]["containers"]
    (tmp_path / "secret.key").write_text("x")
    arguments = [str(tmp_path) if each == "/data" else each for each in container["args"][1:]]
    settings: GatewaySettings = read_gateway_settings(arguments, {"STOKE_STORE": "redis://stoke-valkey:6379"})
    _, host, port = settings.control_plane.split(":")
    service = next(each for each in of("Service") if each["metadata"]["name"] == host)
    assert int(port) in {each["port"] for each in service["spec"]["ports"]}
    (deployment,) = (each for each in of("Deployment") if each["metadata"]["name"] == "stoke-gateway")
    assert settings.gateways == deployment["spec"]["replicas"] == 2
    taken_away_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    grace_s = templates()["stoke-gateway"]["spec"]["terminationGracePeriodSeconds"]
    assert grace_s > taken_away_s + settings.shutdown_timeout_s, "or requests would be cut by SIGKILL"
    assert settings.lease_s, "no kernel knows the processes of both"
    assert settings.word_s > settings.lease_s, "a store's Pod takes longer than a lease to start on another node"


@pytest.mark.parametrize("folder", ["base", "overlays/example"])
def test_the_settings_files_are_understood(folder: str) -> None:
    assert read_pools(ROOT / folder / "pools.yaml").pools
    assert read_settings(ROOT / folder / "kubernetes.yaml")
