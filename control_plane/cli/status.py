"""`stoke status`: does Stoke run, where, and how are its parts?"""

from __future__ import annotations

from control_plane.cli.context import Session, command


@command
def status(session: Session) -> None:
    """Show whether Stoke serves and how it is. When nothing answers: says so, with exit code 3."""
    from control_plane.cli.client import OWN

    with session.client() as client:
        reply = client.get(f"{OWN}/status")
        session.output.result({"endpoint": client.endpoint, **reply})
