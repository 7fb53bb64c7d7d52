"""The property suite has the rules of the unit suite."""

from __future__ import annotations

from tests.unit.conftest import nothing_leaves_and_nothing_waits

__all__ = ["nothing_leaves_and_nothing_waits"]
