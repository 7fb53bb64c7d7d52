"""Shells beside instances: not through here, as `kubectl` has them."""

from __future__ import annotations

from control_plane.backends.kubernetes.pods import CONTAINER, pod_name
from control_plane.errors import InvalidArgument
from control_plane.ports import Shell
from runtime.shell import ShellOrder


class NoShells:
    """Fills `ports.Shells` by naming what does it."""

    async def open(self, order: ShellOrder) -> Shell:
        raise InvalidArgument(
            f"instance '{order.instance_id}' is a Pod, into which stoke exec does not reach: "
            f"kubectl exec -it {pod_name(order.instance_id)} -c {CONTAINER} -- sh"
        )
