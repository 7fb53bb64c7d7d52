"""FC's spelling of requests and replies: qualifiers, JSON bodies, paging, and what is wrong in them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from starlette.requests import Request
from starlette.responses import Response

from control_plane.errors import EntityTooLarge, InvalidArgument, PreconditionFailed
from control_plane.listing import Page, Query
from control_plane.model import Noun, QualifiedFunction
from provision.words import counted
from runtime.contract import LATEST

N = TypeVar("N", bound=Noun)

LIST_LIMIT: Final = 20  # FC's default and maximum
LIST_LIMIT_MAX: Final = 100
JSON_DEPTH_MAX: Final = 64
_LARGE_BODY_BYTES: Final = 256 * 1024  # from here on it is parsed in a thread
_SHOWN_CHARS_MAX: Final = 80  # of a wrong value, in a message


# -- requests ---------------------------------------------------------------------------------------------------------


def service_and_qualifier(request: Request) -> tuple[str, str]:
    """`svc.qualifier` in the path (2016-08-15) or `?qualifier=` (2021-04-06, and 2023-03-30, whose one name of a
    function has no qualifier in it); LATEST when there is neither."""
    given = str(request.path_params["service"])
    name, _, qualifier = (given, "", "") if "name" in request.path_params else given.partition(".")
    return name, qualifier or request.query_params.get("qualifier") or LATEST


def service_name(request: Request) -> str:
    """For what no version has. A qualifier there would be of something else than what is about to change.

    Raises:
        InvalidArgument: it is given, and is not LATEST.
    """
    name, qualifier = service_and_qualifier(request)
    if qualifier != LATEST:
        raise InvalidArgument(
            f"qualifier is '{shorten(qualifier)}': must be {LATEST} or left out, as this is of no version"
        )
    return name


def path_name(request: Request, what: str) -> str:
    return str(request.path_params[what])


def version_2016(request: Request) -> bool:
    """The one version in which a trigger's config is an object and not a string of JSON."""
    return request.url.path.startswith("/2016-08-15/")


def qualified(request: Request) -> QualifiedFunction:
    service, qualifier = service_and_qualifier(request)
    function = path_name(request, "function")
    return build(QualifiedFunction, {}, serviceName=service, qualifier=qualifier, functionName=function)


def list_query(request: Request) -> Query:
    asked = request.query_params
    return Query(
        prefix=asked.get("prefix", ""),
        start_key=asked.get("startKey", ""),
        limit=whole_number(request, "limit", LIST_LIMIT, 1, LIST_LIMIT_MAX),
        next_token=asked.get("nextToken", ""),
    )


def whole_number(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 15 and low <= int(text) <= high):
        raise InvalidArgument(f"{name} is '{shorten(text)}': must be a whole number from {low} to {high}")
    return int(text)


def texts(request: Request, name: str) -> list[str]:
    """A list in the query, as each generation of clients spells it: NAME again and again, NAME.1 and NAME.2, or NAME
    once with a list in JSON."""
    given = [
        value
        for key, value in request.query_params.multi_items()
        if key == name or (key.startswith(f"{name}.") and key[len(name) + 1 :].isdecimal())
    ]
    if len(given) != 1 or not given[0].startswith("["):
        return given
    try:
        found = parse_json(given[0])
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise InvalidArgument(f"{name} is '{shorten(given[0])}': must be a list of strings")
    return found


async def read_object(request: Request, bytes_max: int) -> dict[str, Any]:
    """The body as a JSON object without its nulls, which FC's clients send for "not given"; no body is {}."""
    return {key: value for key, value in (await read_changes(request, bytes_max)).items() if value is not None}


async def read_changes(request: Request, bytes_max: int) -> dict[str, Any]:
    """As `read_object`, for what changes a record: a null that is the value of one of its fields stays, for `merge`."""
    body = await read_body(request, bytes_max)
    if len(body) < _LARGE_BODY_BYTES:
        return _parsed(body)
    return await asyncio.to_thread(_parsed, body)


async def read_body(request: Request, bytes_max: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > bytes_max:
        raise _too_large(int(announced), bytes_max)
    pieces = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > bytes_max:
            raise _too_large(size, bytes_max)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(size: int, bytes_max: int) -> EntityTooLarge:
    return EntityTooLarge(f"the body has {size} bytes or more: at most {bytes_max} are allowed here")


def _parsed(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        given = parse_json(body)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body is not valid JSON: {error}") from error
    if not isinstance(given, dict):
        raise InvalidArgument(f"the body is a JSON {_json_type(given)}: must be an object")
    return given


def parse_json(text: str | bytes) -> Any:
    """What a client's JSON stands for, its nulls only where they are the value of an outermost field.

    Raises:
        ValueError, RecursionError: it is no JSON, or has what could not be kept and given back as JSON.
    """
    value = _with_whole_fields(json.loads(text, parse_constant=_no_constant, parse_float=_finite))
    if (b"\\u" if isinstance(text, bytes) else "\\u") in text:  # type: ignore[operator]
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{shorten(text)} is too large a number")
    return number


def _with_whole_fields(value: Any) -> Any:
    if not isinstance(value, dict):
        return _without_nulls(value, JSON_DEPTH_MAX)
    return {key: _without_nulls(item, JSON_DEPTH_MAX - 1) for key, item in value.items()}


def _without_nulls(value: Any, depth: int) -> Any:
    if depth == 0:
        raise ValueError(f"it is nested more than {JSON_DEPTH_MAX} levels deep")
    if isinstance(value, dict):
        return {key: _without_nulls(item, depth - 1) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item, depth - 1) for item in value]
    return value


# -- from FC's JSON to our records ------------------------------------------------------------------------------------


def build(model: type[N], given: dict[str, Any], *, read_only: frozenset[str] = frozenset(), **known: Any) -> N:
    """A new record from a body; `known` comes from the path and wins. Keys of known fields match in any case."""
    values = _folded(model, given, read_only)
    return _validated(model, {key: value for key, value in values.items() if not _is_reset(model, key, value)} | known)


def merge(stored: N, given: dict[str, Any], *, read_only: frozenset[str] = frozenset(), **known: Any) -> N:
    """`stored` with the keys of a body put in the place of its own: what is not given stays, what is given as null or
    as nothing is as in a new record. A field that has no default stays then too."""
    model = type(stored)
    values = stored.model_dump(by_alias=True)
    for key, value in _folded(model, given, read_only).items():
        if not _is_reset(model, key, value):
            values[key] = value
        elif not _is_required(model, key):
            values.pop(key, None)
    return _validated(model, values | known)


def _is_reset(model: type[Noun], key: str, value: Any) -> bool:
    """Null always; {} for a group of fields; "" where the default is another text, as `instanceType`."""
    if value is None:
        return True
    field = _field(model, key)
    if field is None:
        return False
    if value == {}:
        return any(isinstance(kind, type) and issubclass(kind, Noun) for kind in get_args(field.annotation))
    return value == "" and isinstance(field.default, str) and field.default != ""


def _is_required(model: type[Noun], key: str) -> bool:
    field = _field(model, key)
    return field is not None and field.is_required()


def _field(model: type[Noun], key: str) -> FieldInfo | None:
    return next((field for field in model.model_fields.values() if field.alias == key), None)


def _folded(model: type[Noun], given: dict[str, Any], read_only: frozenset[str]) -> dict[str, Any]:
    spelled = {_fold(name): field.alias or name for name, field in model.model_fields.items()}
    named = {spelled.get(_fold(key), key): value for key, value in given.items()}
    return {key: value for key, value in named.items() if key not in read_only}


def _fold(key: str) -> str:
    return key.replace("_", "").lower()


def _validated(model: type[N], values: dict[str, Any]) -> N:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidArgument(explain(error)) from error


def explain(error: ValidationError) -> str:
    """The first thing that is wrong: the field as FC spells it, its value, and what is allowed."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the body"
    if first["type"] == "missing":
        return f"{field} is missing: it is required"
    allowed = _allowed(first["type"], first.get("ctx", {})) or first["msg"][:1].lower() + first["msg"][1:]
    return f"{field} is {shorten(json.dumps(first['input'], default=str, ensure_ascii=False))}: {allowed}"


def _allowed(kind: str, about: dict[str, Any]) -> str:
    if kind in ("int_type", "int_from_float", "int_parsing"):
        return "must be a whole number"
    if kind in ("float_type", "float_parsing"):
        return "must be a number"
    if kind == "greater_than_equal":
        return f"must be at least {about['ge']}"
    if kind == "less_than_equal":
        return f"must be at most {about['le']}"
    if kind == "literal_error":
        return f"must be {about['expected']}"
    if kind == "string_type":
        return "must be a string"
    if kind == "string_pattern_mismatch":
        return f"must match {about['pattern']}"
    if kind == "string_too_long":
        return f"must have at most {about['max_length']} characters"
    if kind == "too_short":
        return f"must have at least {counted(about['min_length'], 'entry', 'entries')}"
    if kind in ("bool_type", "bool_parsing"):
        return "must be true or false"
    if kind in ("dict_type", "model_type"):
        return "must be an object"
    if kind == "value_error":
        return str(about["error"])
    if kind == "list_type":
        return "must be a list"
    return ""


def shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"


def _json_type(value: Any) -> str:
    names = {list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


# -- replies ----------------------------------------------------------------------------------------------------------


def reply(value: Any, status: int = 200, *, of: BaseModel | None = None) -> Response:
    """`of` is the record that is shown: its ETag goes with it."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    headers = {} if of is None else {"etag": etag(of)}
    return Response(body, status, headers, media_type="application/json")


def etag(noun: BaseModel) -> str:
    """Changes whenever the record does."""
    return hashlib.sha256(noun.model_dump_json().encode()).hexdigest()[:32]


def check_match(request: Request, stored: BaseModel) -> None:
    """What the client wants to change must be what it has read, if it says which that was (`If-Match`).

    Raises:
        PreconditionFailed: it is another by now.
    """
    wanted = request.headers.get("if-match", "")
    if not wanted or wanted.strip() == "*":
        return
    current = etag(stored)
    if current not in {part.strip().removeprefix("W/").strip('"') for part in wanted.split(",")}:
        raise PreconditionFailed(f"header If-Match is '{shorten(wanted)}': the ETag is '{current}' now")


def no_content() -> Response:
    return Response(status_code=204)


def listing(name: str, page: Page[Any], items: list[Any], **more: Any) -> Response:
    """`nextToken` only when there is more to read, as FC has it."""
    token = {"nextToken": page.next_token} if page.next_token else {}
    return reply({name: items, **more, **token})


def dumped(noun: Noun, *hidden: str) -> dict[str, Any]:
    """A record as FC spells it, less what is ours alone (named by our own names)."""
    return noun.model_dump(mode="json", by_alias=True, exclude=set(hidden))
