"""What an s.yaml says of mounts, as the API takes it: `nasConfig` of either edition."""

from __future__ import annotations

import re
from typing import Any, Final

from control_plane import nas
from control_plane.cli.problems import Problems
from control_plane.cli.yaml_source import Path as FieldPath
from control_plane.errors import InvalidArgument

_PATH: Final = re.compile(r"\w+|\[\d+\]")


def put_mounts(service: dict[str, Any], value: Any, path: FieldPath, problems: Problems) -> None:
    """Into the body of a service, unless there is nothing. `path` is where the file has `value`."""
    service.pop(nas.FIELD, None)
    if value == "auto":
        problems.note(path, "has no effect: no file system is made here; name what is mounted by mountPoints")
    elif value:
        body = _as_the_api_has_it(value)
        try:
            nas.read(body)
        except InvalidArgument as error:
            field, _, rest = str(error).removeprefix(nas.FIELD).partition(" ")
            steps = (int(step[1:-1]) if step.startswith("[") else step for step in _PATH.findall(field))
            problems.add((*path, *steps), rest)
        service[nas.FIELD] = body


def _as_the_api_has_it(value: Any) -> Any:
    """FC's component of edition 1.0.0 has a server, a folder of it and a folder of the instance, each by itself."""
    if not isinstance(value, dict) or not isinstance(value.get("mountPoints"), list):
        return value
    return {**value, "mountPoints": [_point(point) for point in value["mountPoints"]]}


def _point(point: Any) -> Any:
    if not isinstance(point, dict) or not {"nasDir", "fcDir"} & point.keys():
        return point
    rest = {key: item for key, item in point.items() if key not in ("nasDir", "fcDir", "serverAddr")}
    server, folder = (str(point.get(key) or "") for key in ("serverAddr", "nasDir"))
    return {"serverAddr": f"{server}:/{folder.lstrip('/')}", "mountDir": point.get("fcDir"), **rest}
