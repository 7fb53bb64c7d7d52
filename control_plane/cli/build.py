"""`stoke build`: makes the image of each container function from its Dockerfile, under the name the function has."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from control_plane.cli.choosing import FunctionName, ServiceName
from control_plane.cli.context import Session, command
from control_plane.cli.failures import BadInput, Failed

if TYPE_CHECKING:
    from control_plane.cli.plans import FunctionPlan

PROGRAMS: Final = ("docker", "podman")
DOCKERFILE: Final = "Dockerfile"


@command
def build(
    session: Session,
    engine: Annotated[
        str, typer.Option(envvar="STOKE_ENGINE", metavar="unix://PATH", help="The container engine's socket.")
    ] = "",
    dockerfile: Annotated[
        str, typer.Option(metavar="NAME", help="The file's name in each function's folder.")
    ] = DOCKERFILE,
    build_arg: Annotated[
        list[str] | None,
        typer.Option("--build-arg", metavar="NAME=VALUE", help="For the Dockerfile; may be repeated."),
    ] = None,
    service_name: ServiceName = None,
    function_name: FunctionName = None,
) -> None:
    """Build and tag the images of the custom-container functions in s.yaml whose folder has a Dockerfile."""
    from control_plane.cli.plans import select_plans

    manifest = session.required_manifest()
    plans = select_plans(manifest.plans, service_name, function_name)
    to_build = [plan for plan in plans if is_built(plan, dockerfile)]
    if not to_build:
        raise BadInput(
            f"no function to build: none of {', '.join(plan.function_name for plan in plans)} is a custom-container "
            f"with {dockerfile} in the folder that codeUri (code) names"
        )
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        raise Failed(f"neither {' nor '.join(PROGRAMS)} is on PATH: one of them is needed to build an image")
    built: dict[str, dict[str, Any]] = {}
    for plan in to_build:
        session.output.progress(f"image {image_of(plan)}: building from {plan.context}")
        run(arguments(program, plan, engine, dockerfile, build_arg or []))
        built[plan.key] = {"function": plan.function_name, "image": image_of(plan), "state": "built"}
    session.output.result(built)


def is_built(plan: FunctionPlan, dockerfile: str) -> bool:
    """Whether a function has an image of its own to build: a name that is no digest and no file, and a Dockerfile."""
    image = image_of(plan)
    is_name = bool(image) and "@" not in image and not image.startswith("file:")
    return is_name and plan.context is not None and (plan.context / dockerfile).is_file()


def image_of(plan: FunctionPlan) -> str:
    return str((plan.function.get("customContainerConfig") or {}).get("image") or "")


def arguments(program: str, plan: FunctionPlan, engine: str, dockerfile: str, build_args: list[str]) -> list[str]:
    """The command that builds one function's image."""
    assert plan.context is not None
    where = []
    if engine:
        where = ["--remote", "--url", engine] if Path(program).name == "podman" else ["--host", engine]
    values = [word for value in build_args for word in ("--build-arg", value)]
    file = str(plan.context / dockerfile)
    return [program, *where, "build", "--tag", image_of(plan), "--file", file, *values, str(plan.context)]


def run(command_line: list[str]) -> None:
    """Its words go to stderr as they come. Raises Failed when it does not succeed."""
    done = subprocess.run(command_line, check=False, stdin=subprocess.DEVNULL, stdout=2, env=dict(os.environ))
    if done.returncode != 0:
        raise Failed(f"the image was not built: {' '.join(command_line)} ended with {done.returncode}")
