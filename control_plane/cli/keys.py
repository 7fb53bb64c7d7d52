"""`stoke keys create|list|enable|disable|remove`: who may ask Stoke for what. Needs a key of the role admin."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from control_plane.cli.context import Session, command
from control_plane.cli.output import Format
from control_plane.cli.remove import agree
from runtime.access.roles import Role

COLUMNS: Final = ("access_key_id", "role", "services", "enabled", "created_time", "description")

KeyId = Annotated[str, typer.Argument(metavar="ACCESS_KEY_ID", help="The key's id")]


@command
def create(
    session: Session,
    role: Annotated[Role, typer.Option("--role", help="What the key may do")],
    service: Annotated[
        list[str] | None, typer.Option("--service", metavar="NAME", help="A service it may touch; again for more")
    ] = None,
    description: Annotated[str, typer.Option("--description", help="A note, for the list")] = "",
    with_token: Annotated[
        bool, typer.Option("--with-token", help="With a security token, which its requests must bear")
    ] = False,
) -> None:
    """Make an access key and print it. The secret is shown this once."""
    body = {"role": role.value, "services": service or [], "description": description, "withToken": with_token}
    with session.client() as client:
        session.output.result(client.post(_path(), body))
    session.output.progress("keep the secret: it is not shown again")


@command
def list_(session: Session) -> None:
    """Show all access keys but this machine's own, which is in DATA/credentials.json. Secrets are not shown."""
    with session.client() as client:
        rows: list[dict[str, Any]] = list(client.pages(_path(), "keys"))
    session.output.result(rows, default=Format.TABLE, columns=COLUMNS)


@command
def disable(session: Session, access_key_id: KeyId) -> None:
    """Refuse what the key signs from now on, until it is enabled again."""
    with session.client() as client:
        session.output.result(client.post(f"{_path(access_key_id)}/disable", {}))


@command
def enable(session: Session, access_key_id: KeyId) -> None:
    """Take what the key signs again."""
    with session.client() as client:
        session.output.result(client.post(f"{_path(access_key_id)}/enable", {}))


@command
def remove(
    session: Session,
    access_key_id: KeyId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
) -> None:
    """Remove an access key for good."""
    if not yes:
        agree(session.output, f"access key {access_key_id}, which cannot be had back")
    with session.client() as client:
        client.send("DELETE", _path(access_key_id))
    session.output.progress(f"removed access key {access_key_id}")


def _path(access_key_id: str = "") -> str:
    from control_plane.cli.client import OWN

    return f"{OWN}/keys/{quote(access_key_id, safe='')}" if access_key_id else f"{OWN}/keys"
