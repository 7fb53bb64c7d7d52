"""What a requirements.txt asks for: whether it is there already, and what names the environment made of it. Pure.

An environment is named by everything that its content follows from: the text, the interpreter, the machine, what is
installed beside Stoke (an environment holds only what that lacks) and, where the text names files of the code, these.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

FILE: Final = "requirements.txt"
WORDS_CHARS_MAX: Final = 4000
# Where packages are looked for, which says nothing about whether they are there already.
_PLACES: Final = ("--find-links", "-f", "--index-url", "-i", "--extra-index-url", "--trusted-host", "--no-index")
_OF_FILES: Final = ("-r", "--requirement", "-c", "--constraint", "-e", "--editable", "-f", "--find-links")
_ARCHIVES: Final = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tgz")
# What a resolver prints besides its reasons.
_CHATTER: Final = re.compile(r"^(\[?notice|WARNING: (Location|Retrying)|Using Python |Collecting |Looking in )")


@dataclass(frozen=True, slots=True)
class Installed:
    """A distribution beside Stoke. `requires` as its metadata has it."""

    version: str
    requires: tuple[str, ...] = ()
    is_named: bool = True  # False: another distribution has its modules


def environment_id(
    requirements: str, *, python: str, machine: str, beside: Mapping[str, Installed], code_sha256: str
) -> str:
    """64 hex digits."""
    values = [
        requirements,
        python,
        machine,
        sorted((name, one.version) for name, one in beside.items()),
        code_sha256 if names_files(requirements) else "",
    ]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def lines(requirements: str) -> Iterator[str]:
    """Without comments, empty lines and line ends that are escaped."""
    for line in requirements.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        bare = re.sub(r"(^|\s)#.*$", "", line).strip()
        if bare:
            yield bare


def names_files(requirements: str) -> bool:
    """Does it name files of the code folder? A path from the root is the machine's, and not looked into."""
    return any(_names_file(line) for line in lines(requirements))


def wants_hashes(requirements: str) -> bool:
    """Does it say what the archives that are installed have to hash to?"""
    return any("--hash" in line or line.startswith("--require-hashes") for line in lines(requirements))


def included(requirements: str) -> list[str]:
    """The files that it has read as if they were a part of it, by their names in it."""
    found = [re.fullmatch(r"(?:-r|--requirement)[ =]*(.+)", line) for line in lines(requirements)]
    return [each[1].strip() for each in found if each is not None and "://" not in each[1]]


def _names_file(line: str) -> bool:
    spaced = re.sub(r"^(-[rcef])(?=[^ =])", r"\1 ", line)  # a short option may have its value right behind it
    option, _, value = spaced.replace("=", " ", 1).partition(" ") if line.startswith("-") else ("", "", line)
    value = value.strip()
    if option and option not in _OF_FILES:
        return False
    if "://" in value and not value.startswith("file:"):
        return False
    if option:
        return not value.startswith("/")
    _, at, place = value.partition(" @ ")
    path = (place if at else value).strip().removeprefix("file:")
    return path.startswith(".") or (not path.startswith("/") and path.partition(";")[0].strip().endswith(_ARCHIVES))


def is_satisfied(requirements: str, beside: Mapping[str, Installed]) -> bool:
    """Is all it asks for there, with all that this needs? False where only an installer can tell.

    `beside` is by canonical name.
    """
    wanted = []
    for line in lines(requirements):
        if line.startswith("-"):
            if line.replace("=", " ", 1).split()[0] not in _PLACES:
                return False
            continue
        try:
            wanted.append(Requirement(line))
        except InvalidRequirement:
            return False
    return _are_there(wanted, beside)


def _are_there(wanted: Iterable[Requirement], beside: Mapping[str, Installed]) -> bool:
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(requirement, frozenset({""})) for requirement in wanted]
    while todo:
        requirement, extras = todo.pop()
        if requirement.marker is not None and not any(requirement.marker.evaluate({"extra": e}) for e in extras):
            continue
        name = str(canonicalize_name(requirement.name))
        one = beside.get(name)
        if requirement.url is not None or one is None or not _fits(requirement, one.version):
            return False
        own = frozenset({"", *requirement.extras})
        if (name, own) not in seen:
            seen.add((name, own))
            todo += [(Requirement(text), own) for text in one.requires]
    return True


def _fits(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def parted(requirements: str, beside: Mapping[str, Installed]) -> tuple[list[str], list[str]]:
    """Its lines: those that an installer has to look at, and those that what is there satisfies."""
    wanted: list[str] = []
    there: list[str] = []
    for line in lines(requirements):
        is_there = not line.startswith("-") and is_satisfied(line, beside)
        (there if is_there else wanted).append(line)
    return wanted, there


def without_beside(pins: Iterable[str], beside: Mapping[str, Installed]) -> list[str]:
    """Of resolved lines (`name==version`) those that are not there beside Stoke in just this version."""
    left = []
    for line in pins:
        name, _, version = line.partition("==")
        one = beside.get(str(canonicalize_name(name.strip())))
        if one is None or one.version != version.partition(";")[0].strip():
            left.append(line)
    return left


def resolver_words(output: str) -> str:
    """What an installer said, as an error shows it: its end, without progress and notices."""
    said = [line.rstrip() for line in output.splitlines() if line.strip() and not _CHATTER.match(line.strip())]
    errors = [line for line in said if line.startswith("ERROR")]
    return "\n".join(errors or said)[-WORDS_CHARS_MAX:] or "(it said nothing)"
