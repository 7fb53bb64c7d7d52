"""What users asked for: services, functions, versions, aliases, triggers, provision configs."""

from control_plane.registry.registry import RedisRegistry

__all__ = ["RedisRegistry"]
