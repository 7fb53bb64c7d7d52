"""Finds what a handler string names in a function's code, and which of the four kinds of handler it is."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, Final

NAME: Final = re.compile(r"[A-Za-z_]\w*([./][A-Za-z_]\w*)*\.[A-Za-z_]\w*")


class HandlerError(Exception):
    """The string names nothing that can be called; says what is missing."""


class HandlerKind(StrEnum):
    ASGI = "asgi"  # app(scope, receive, send)
    WSGI = "wsgi"  # app(environ, start_response), as Flask and Django have it
    PLAIN = "plain"  # handler(event, context), sync or async


def load(code: Path, name: str, field: str) -> Callable[..., Any]:
    """The object that `name` ("module.attribute") names. `field` is said in errors.

    Raises:
        HandlerError: no such file, or nothing callable of that name in it.
        Whatever the module raises when it is imported.
    """
    if not NAME.fullmatch(name):
        raise HandlerError(f"{field} '{name}' must be 'module.attribute', such as 'app.handler'")
    module_name, _, attribute = name.replace("/", ".").rpartition(".")
    found = getattr(_module(code, module_name, field, name), attribute, None)
    if found is None:
        raise HandlerError(f"{field} '{name}': module '{module_name}' has no '{attribute}'")
    if not callable(found):
        raise HandlerError(f"{field} '{name}' is a {type(found).__name__}, which cannot be called")
    return found  # type: ignore[no-any-return]


def is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None


def kind_of(handler: Callable[..., Any], name: str) -> HandlerKind:
    """By its parameters. Raises HandlerError for a number of them that no kind has."""
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):
        raise HandlerError(f"handler '{name}' does not tell its parameters") from None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(required) == 3 and _is_async(handler):
        return HandlerKind.ASGI
    if len(positional) >= 2 and positional[1].name == "start_response":
        return HandlerKind.WSGI
    if len(required) <= 2 and (len(positional) >= 2 or takes_any):
        return HandlerKind.PLAIN
    raise HandlerError(
        f"handler '{name}' takes ({', '.join(p.name for p in parameters)}); "
        "it must be handler(event, context), a WSGI app or an ASGI app"
    )


def takes_argument(function: Callable[..., Any]) -> bool:
    """May it be called with one argument, as initializers are?"""
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _is_async(handler: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)


def _module(code: Path, module_name: str, field: str, name: str) -> ModuleType:
    file = _file(code, module_name)
    if file is None:
        path = module_name.replace(".", "/")
        raise HandlerError(f"{field} '{name}': the code has neither {path}.py nor {path}/__init__.py")
    already = sys.modules.get(module_name)
    if already is not None and Path(getattr(already, "__file__", None) or "").resolve() == file.resolve():
        return already
    # By its file, not by its name: a function may call its module `app`, `types` or whatever we have imported.
    for parent in _parents(module_name):
        importlib.import_module(parent)
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(module_name, None)
        raise
    return module


def _parents(module_name: str) -> list[str]:
    parts = module_name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _file(code: Path, module_name: str) -> Path | None:
    base = code.joinpath(*module_name.split("."))
    for file in (base.with_name(base.name + ".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None
