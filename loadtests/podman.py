"""Podman as a container engine of one's own, for tests: its service in a network namespace of its own, with nothing of
the machine's settings, networks or storage. runc rather than crun, which refuses control groups of version 1."""

from __future__ import annotations

import json
import os
import resource
import shutil
from pathlib import Path
from typing import ClassVar, Final

from loadtests.engine import PrivateEngine, why_no_network

_INITS: Final = ("/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/bin/docker-init", "/usr/bin/tini")
_CNI_PLUGINS: Final = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
_NETWORK_NAME: Final = "podman"


class PodmanEngine(PrivateEngine):
    kind: ClassVar[str] = "podman"

    def command(self) -> tuple[list[str], dict[str, str]]:
        """What to run, and variables for it. Each container has a keeper (conmon), so it outlives the service."""
        configuration = self.folder / "containers.conf"
        if not configuration.exists():
            self._configure(configuration)
        folders = ["--root", f"{self.folder}/data", "--runroot", f"{self.folder}/run", "--tmpdir", f"{self.folder}/lib"]
        return ["podman", *folders, "system", "service", "--time=0", f"unix://{self.socket}"], {
            "CONTAINERS_CONF": str(configuration),
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
            "TMPDIR": str(self.folder),
        }

    def _configure(self, file: Path) -> None:
        # As Docker has it by itself: a registry of this machine may speak HTTP.
        registries = (
            'unqualified-search-registries = ["docker.io"]\n[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n'
        )
        (self.folder / "registries.conf").write_text(registries)
        networks = self.folder / "networks"
        networks.mkdir()
        (networks / "87-podman.conflist").write_text(json.dumps(_bridge(self.folder)))
        limits = [_limit("nofile", 1_048_576), _limit("nproc", 32_768)]
        plugins = [folder for folder in _CNI_PLUGINS if Path(folder).is_dir()]
        tables: dict[str, dict[str, str | list[str]]] = {
            "containers": {"default_ulimits": limits},
            "engine": {
                "runtime": "runc",
                "cgroup_manager": "cgroupfs",
                "events_logger": "file",
                "lock_type": "file",  # else locks are shared with every Podman of the machine, and freed at a start
                "init_path": next((path for path in _INITS if Path(path).exists()), _INITS[0]),
            },
            "network": {
                "network_backend": "cni",
                "default_network": _NETWORK_NAME,
                "network_config_dir": str(networks),
                "cni_plugin_dirs": plugins,
            },
        }
        lines = []
        for table, values in tables.items():
            # What JSON writes of texts and lists of texts is TOML too.
            lines += [f"[{table}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
        file.write_text("\n".join(lines) + "\n")


def _limit(name: str, most: int) -> str:
    """Unless it is told, Podman asks for more than whoever may not raise a limit can have. The service lowers its own
    number of processes to 32768 where it cannot raise it, and its containers can have no more."""
    hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
    limit = most if hard == resource.RLIM_INFINITY else min(hard, most)
    return f"{name}={limit}:{limit}"


def _bridge(folder: Path) -> dict[str, object]:
    """The one network, whose addresses are kept in this folder rather than with the machine's."""
    addresses = {
        "type": "host-local",
        "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}]],
        "dataDir": str(folder / "addresses"),
    }
    bridge = {"type": "bridge", "bridge": "cni-podman0", "isGateway": True, "ipMasq": True, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": _NETWORK_NAME, "plugins": [bridge, {"type": "portmap", "capabilities":
            {"portMappings": True}}, {"type": "firewall"}, {"type": "tuning"}]}  # fmt: skip


def why_not_podman() -> str:
    """Why Podman cannot be had here, "" when it can."""
    for program in ("podman", "conmon", "runc", "ip"):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"there is no {program}: tests over Podman need podman, conmon, runc and iproute2"
    if not any(Path(folder, "bridge").exists() for folder in _CNI_PLUGINS):
        return "there is no CNI plugin 'bridge': tests over Podman need containernetworking-plugins"
    return why_no_network()
