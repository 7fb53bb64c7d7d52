"""The manifests as kubectl makes one of them, and against the API's own schemas where those are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
NO_SCHEMA = {"ServiceMonitor"}  # of the Prometheus operator, not of Kubernetes
VERSIONS = ("1.31", "1.34")


def built(folder: str) -> list[dict[str, Any]]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    command = ["kubectl", "kustomize", str(ROOT / folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60.0, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "no warning either"
    return [*yaml.safe_load_all(done.stdout)]


@pytest.mark.parametrize("folder", ["base", "overlays/example"])
def test_kubectl_makes_one_of_it_in_one_namespace(folder: str) -> None:
    made = built(folder)
    cluster_wide = ("Namespace", "ClusterRole", "ClusterRoleBinding")
    assert {each["metadata"].get("namespace") for each in made if each["kind"] not in cluster_wide} == {"stoke"}
    maps = {each["metadata"]["name"] for each in made if each["kind"] == "ConfigMap"}
    planes = next(e for e in made if e["kind"] == "Deployment" and e["metadata"]["name"] == "stoke-control-plane")
    volumes = planes["spec"]["template"]["spec"]["volumes"]
    assert {each["configMap"]["name"] for each in volumes if "configMap" in each} == maps
    for binding in (each for each in made if each["kind"].endswith("RoleBinding")):
        assert {each["namespace"] for each in binding["subjects"]} == {"stoke"}


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_is_as_the_apis_schemas_have_it(version: str) -> None:
    validating = pytest.importorskip("kubernetes_validate", reason="PyPI's kubernetes-validate is not installed")
    for each in built("overlays/example"):
        if each["kind"] not in NO_SCHEMA:
            validating.validate(each, version, strict=True)
