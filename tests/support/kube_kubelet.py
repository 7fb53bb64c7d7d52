"""What scheduler and kubelet do with the Pods of `kube_api.KubeApi`: as rows in a table, or as processes that serve."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Any

from runtime.node import hooks
from tests.support.kube_api import KubeApi, Object
from tests.support.kube_scheduler import place

CHECK_S = 0.02
NO_REGISTRY = "registry.invalid"  # a name that RFC 6761 lets nobody have


class Kubelet:
    """The part that both have: a Pod is bound, started, and ended when it is deleted."""

    def __init__(self, api: KubeApi) -> None:
        self.api = api
        api.changed = self._changed
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by uid
        self._told: dict[str, asyncio.Event] = {}

    async def live(self, pod: Object) -> None:
        raise NotImplementedError

    def told_to_end(self, pod: Object) -> asyncio.Event:
        return self._told.setdefault(pod["metadata"]["uid"], asyncio.Event())

    async def close(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _changed(self, type_: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if "deletionTimestamp" in pod["metadata"]:
            self.told_to_end(pod).set()
        if type_ == "ADDED":
            self._tasks[uid] = asyncio.create_task(self._run(uid, self.live(pod)))

    async def _run(self, uid: str, life: Coroutine[Any, Any, None]) -> None:
        try:
            await life
        finally:
            self._tasks.pop(uid, None)
            self._told.pop(uid, None)

    def is_there(self, pod: Object) -> bool:
        now = self.api.pods.get(pod["metadata"]["name"])
        return now is not None and now["metadata"]["uid"] == pod["metadata"]["uid"]

    def runs(self, pod: Object, ip: str, *, ready: bool) -> None:
        state = {"name": "instance", "ready": ready, "restartCount": 0, "state": {"running": {}}}
        conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(ready)}]
        self.api.set_status(
            pod["metadata"]["name"],
            phase="Running",
            podIP=ip,
            hostIP="127.0.0.1",
            containerStatuses=[state],
            conditions=conditions,
        )

    def ended(self, pod: Object, code: int, reason: str, message: str = "") -> None:
        terminated = {"exitCode": code, "reason": reason, **({"message": message} if message else {})}
        state = {"name": "instance", "ready": False, "state": {"terminated": terminated}}
        phase = "Succeeded" if code == 0 else "Failed"
        self.api.set_status(pod["metadata"]["name"], phase=phase, containerStatuses=[state])


class PretendKubelet(Kubelet):
    """In virtual time. A Pod on a node in `cut_off` is neither started nor ended until the node is back."""

    def __init__(self, api: KubeApi, *, start_s: float = 1.0, end_s: float = 0.5) -> None:
        super().__init__(api)
        self.start_s, self.end_s = start_s, end_s
        self.cut_off: set[str] = set()
        self.stuck: Object = {}  # the status in which a Pod stays
        self.running: dict[str, str] = {}  # by the Pod's name: its address
        self._numbers = 0

    async def live(self, pod: Object) -> None:
        name, told = pod["metadata"]["name"], self.told_to_end(pod)
        await asyncio.sleep(self.start_s / 2)
        if self.stuck:
            self.api.set_status(name, **self.stuck)
            await told.wait()
            return
        node = await self._node()
        if not self.is_there(pod) or told.is_set():
            return
        self.api.bind(name, node)
        await asyncio.sleep(self.start_s / 2)
        if not told.is_set():
            self._numbers += 1
            self.running[name] = f"10.0.{self._numbers // 250}.{self._numbers % 250 + 1}"
            self.runs(pod, self.running[name], ready=True)
        await told.wait()
        await asyncio.sleep(self.end_s)
        while node in self.cut_off:
            await asyncio.sleep(1.0)
        self.running.pop(name, None)
        if self.is_there(pod):
            self.ended(pod, 0, "Completed")
            self.api.confirm_deleted(name)

    async def _node(self) -> str:
        while True:
            nodes = self.api.objects["nodes"].items()
            free = [name for name, node in nodes if name not in self.cut_off and not node["spec"].get("taints")]
            if free:
                return min(free, key=lambda n: sum(p["spec"].get("nodeName") == n for p in self.api.pods.values()))
            await asyncio.sleep(0.5)


class ProcessKubelet(Kubelet):
    """A Pod is a process on a loopback address of its own, held to its memory, probed and ended as a kubelet does.

    Those on a node in `cut_off` run on, and neither hear of anything nor are heard of. An image of NO_REGISTRY cannot
    be had.
    """

    def __init__(self, api: KubeApi) -> None:
        super().__init__(api)
        self.cut_off: set[str] = set()
        self.folder = Path(tempfile.mkdtemp(prefix="stoke-kubelet-"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = 1
        api.read_log = self._log
        api.metrics = self._metrics

    async def close(self) -> None:
        await super().close()
        rmtree(self.folder, ignore_errors=True)

    def kill(self, name: str) -> None:
        self.processes[name].kill()

    async def live(self, pod: Object) -> None:
        name, container, told = pod["metadata"]["name"], pod["spec"]["containers"][0], self.told_to_end(pod)
        self._numbers += 1
        ip = f"127.0.{self._numbers // 250}.{self._numbers % 250 + 1}"
        if not (node := await self._placed(pod, told)):
            return
        self.api.bind(name, node)
        if container["image"].startswith(NO_REGISTRY):
            await self._pull_in_vain(pod, told)
            return
        if why := _why_not_started(container):
            self.ended(pod, 128, "StartError", why)
            await told.wait()
            self.api.confirm_deleted(name)
            return
        process = self._start(name, container, ip)
        self.processes[name] = process
        try:
            self.runs(pod, ip, ready="health" not in str(container["readinessProbe"]))
            code, reason = await self._until_ended(pod, process, ip, told)
            while node in self.cut_off:
                await asyncio.sleep(CHECK_S)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            self.processes.pop(name, None)
        if self.is_there(pod):
            self.ended(pod, code, reason)
            await told.wait()
            self.api.confirm_deleted(name)

    async def _placed(self, pod: Object, told: asyncio.Event) -> str:
        """Its node, "" when it was deleted before it had one."""
        said = ""
        while not told.is_set():
            node, why = place(pod, self.api.objects["nodes"], self.api.pods.values())
            if node:
                return node
            if why != said:
                condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
                self.api.set_status(pod["metadata"]["name"], conditions=[condition])
                said = why
            await asyncio.sleep(CHECK_S)
        return ""

    async def _pull_in_vain(self, pod: Object, told: asyncio.Event) -> None:
        image, name = pod["spec"]["containers"][0]["image"], pod["metadata"]["name"]
        words = {
            "ErrImagePull": f'failed to pull and unpack image "{image}": dial tcp: lookup {NO_REGISTRY}: no such host',
            "ImagePullBackOff": f'Back-off pulling image "{image}"',
        }
        while not told.is_set():
            for reason, message in words.items():
                state = {"waiting": {"reason": reason, "message": message}}
                self.api.set_status(name, containerStatuses=[{"name": "instance", "state": state}])
                with suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), 0.1)
        self.api.confirm_deleted(name)

    def _start(self, name: str, container: Object, ip: str) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ["PATH"],
            "FAKE_POD_IP": ip,
            **{item["name"]: item["value"] for item in container["env"]},
        }
        command = [*container.get("command", ()), *container.get("args", ())]
        command[0] = sys.executable if command[0] == "python3" else command[0]
        with (self.folder / name).open("wb") as output:
            return subprocess.Popen(command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)

    async def _until_ended(
        self, pod: Object, process: subprocess.Popen[bytes], ip: str, told: asyncio.Event
    ) -> tuple[int, str]:
        container = pod["spec"]["containers"][0]
        limit_kib = int(container["resources"]["limits"]["memory"].removesuffix("Mi")) * 1024
        ready, turn = False, 0
        node = self.api.pods[pod["metadata"]["name"]]["spec"]["nodeName"]
        while not told.is_set() or node in self.cut_off:
            if (code := process.poll()) is not None:
                return (code, "Completed" if code == 0 else "Error") if code >= 0 else (128 - code, "Error")
            if _rss_kib(process.pid) > limit_kib:
                process.kill()
                return 137, "OOMKilled"
            turn += 1
            probe = container["readinessProbe"].get("httpGet")
            if probe is not None and turn % 5 == 0 and node not in self.cut_off:
                now = await _probe(ip, probe)
                if now != ready:
                    ready = now
                    self.runs(pod, ip, ready=ready)
            await asyncio.sleep(CHECK_S)
        return await self._end(pod, process, ip)

    async def _end(self, pod: Object, process: subprocess.Popen[bytes], ip: str) -> tuple[int, str]:
        """The hook and SIGTERM share the grace; then SIGKILL."""
        hook = pod["spec"]["containers"][0].get("lifecycle", {}).get("preStop", {}).get("httpGet")
        try:
            async with asyncio.timeout(pod["metadata"]["deletionGracePeriodSeconds"]):
                if hook is not None:
                    headers = {header["name"]: header["value"] for header in hook["httpHeaders"]}
                    await hooks.request(f"tcp:{ip}:{hook['port']}", "GET", hook["path"], headers)
                process.send_signal(signal.SIGTERM)
                while process.poll() is None:
                    await asyncio.sleep(CHECK_S)
        except (TimeoutError, hooks.HookError):
            process.kill()
        process.wait()
        return 0, "Completed"

    async def _log(self, name: str, lines: int, follow: bool) -> AsyncIterator[bytes]:
        path, told = self.folder / name, 0
        while True:
            runs = name in self.processes
            said = path.read_bytes() if path.exists() else b""
            if told == 0:
                told = len(said)
                yield b"".join(said.splitlines(keepends=True)[-lines:])
            elif len(said) > told:
                yield said[told:]
                told = len(said)
            if not follow or not runs:
                return
            await asyncio.sleep(CHECK_S)

    def _metrics(self) -> list[Object]:
        usages = [
            (name, {"cpu": "12345678n", "memory": f"{_rss_kib(process.pid)}Ki"})
            for name, process in self.processes.items()
        ]
        return [
            {"metadata": {"name": name}, "containers": [{"name": "instance", "usage": usage}]} for name, usage in usages
        ]


def _why_not_started(container: Object) -> str:
    program = container.get("command", ["python3"])[0]
    if program == "python3" or Path(program).exists():
        return ""
    return f'runc create failed: unable to start container process: exec: "{program}": no such file or directory'


async def _probe(ip: str, probe: Object) -> bool:
    headers = {header["name"]: header["value"] for header in probe.get("httpHeaders", ())}
    try:
        async with asyncio.timeout(1.0):
            answer = await hooks.request(f"tcp:{ip}:{probe['port']}", "GET", probe["path"], headers)
    except (TimeoutError, hooks.HookError):
        return False
    return 200 <= answer.status < 400


def _rss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
