"""The FC wire: the only place that knows how Function Compute spells things."""

from control_plane.api.app import create_app

__all__ = ["create_app"]
