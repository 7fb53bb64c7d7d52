"""Where packages come from: pip's own configuration, which uv does not read, told to uv. Pure but for reading files."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

# pip's option: uv's variable, and what uv wants between several.
_UV: Final = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "no-index": ("UV_NO_INDEX", " "),
}
_SECTIONS: Final = ("global", "install")  # a later one counts more
# What the node knows and a package's build script has no business with.
_OURS: Final = ("STOKE_", "FC_")


def pip_files(environment: Mapping[str, str], prefix: str = sys.prefix) -> list[Path]:
    """pip's configuration files, a later one counts more."""
    home = Path(environment.get("HOME") or "/")
    named = environment.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    config_home = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", config_home / "pip" / "pip.conf"]
    return [*files, Path(prefix) / "pip.conf", *([Path(named)] if named else [])]


def for_pip(environment: Mapping[str, str]) -> dict[str, str]:
    """The node's own environment, with which pip finds its configuration by itself."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_OURS)}
    return {name: value for name, value in kept.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")} | {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # what is installed is compiled, so that imports are fast
    }


def for_uv(environment: Mapping[str, str], files: Iterable[Path]) -> dict[str, str]:
    """As `for_pip`, with pip's settings as uv spells them; settings of uv's own stay."""
    options: dict[str, str] = {}
    for file in files:
        options |= _read(file)
    for option in _UV:
        if value := environment.get("PIP_" + option.upper().replace("-", "_")):
            options[option] = value
    values = {
        variable: between.join(options[option].split())
        for option, (variable, between) in _UV.items()
        if options.get(option)
    }
    return values | for_pip(environment)


def _read(file: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, "utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError):
        return {}
    return {
        option: value
        for section in _SECTIONS
        if parser.has_section(section)
        for option, value in parser.items(section)
        if option in _UV
    }
