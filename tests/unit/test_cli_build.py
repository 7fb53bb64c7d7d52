"""Which images `stoke build` builds, and by which command."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli.build import arguments, image_of, is_built
from control_plane.cli.manifest import load_manifest
from control_plane.cli.plans import FunctionPlan

SAMPLE = Path(__file__).parents[2] / "functions" / "container" / "s.yaml"


def plan(folder: Path | None, image: str = "a/b:1") -> FunctionPlan:
    function = {"functionName": "f", "customContainerConfig": {"image": image}}
    return FunctionPlan("f", {"serviceName": "s"}, function, context=folder)


def test_the_sample_is_built_from_its_own_folder() -> None:
    (sample,) = load_manifest(SAMPLE, {}).plans
    assert sample.context == SAMPLE.parent
    assert sample.code is None
    assert is_built(sample, "Dockerfile")
    assert image_of(sample) == "stoke-samples/container:1"


@pytest.mark.parametrize("image", ["a@sha256:1", "file:a.tar", ""])
def test_an_image_that_is_named_by_what_is_in_it_is_not_built(tmp_path: Path, image: str) -> None:
    (tmp_path / "Dockerfile").touch()
    assert not is_built(plan(tmp_path, image), "Dockerfile")
    assert is_built(plan(tmp_path), "Dockerfile")


def test_without_a_folder_or_a_dockerfile_nothing_is_built(tmp_path: Path) -> None:
    assert not is_built(plan(None), "Dockerfile")
    assert not is_built(plan(tmp_path), "Dockerfile")


def test_the_command_is_the_engines_own(tmp_path: Path) -> None:
    said = arguments("/usr/bin/docker", plan(tmp_path), "unix:///e", "Dockerfile", ["A=1", "B=2"])
    assert said == [
        "/usr/bin/docker", "--host", "unix:///e", "build", "--tag", "a/b:1", "--file", f"{tmp_path}/Dockerfile",
        "--build-arg", "A=1", "--build-arg", "B=2", str(tmp_path),
    ]  # fmt: skip
    assert arguments("podman", plan(tmp_path), "unix:///e", "F", [])[:4] == ["podman", "--remote", "--url", "unix:///e"]
