"""Asks the metrics server and the exporters, not more often than is useful: they have news every few seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Final

import httpx

from control_plane.backends.kubernetes.client import ApiAway, ApiError, KubernetesClient, silently
from control_plane.backends.kubernetes.figures import Usage, query, read_exporter, read_pod_metrics, read_prometheus
from control_plane.backends.kubernetes.pods import selector
from control_plane.backends.kubernetes.settings import KubernetesSettings
from control_plane.ports import Clock

log = logging.getLogger(__name__)

_ABSENT_FOR_S: Final = 60.0
_TIMEOUT_S: Final = 3.0
_PAGE_BYTES_MAX: Final = 16 * 1024 * 1024


class Gauges:
    """The newest figures of each Pod, by its name. What cannot be had is left out and said once."""

    def __init__(self, client: KubernetesClient, settings: KubernetesSettings, namespace: str, clock: Clock) -> None:
        self._client = client
        self._settings = settings
        self._namespace = namespace
        self._clock = clock
        self._asked_at_s = float("-inf")
        self.read_at_s = 0.0  # UTC; of what `newest` gives
        self._usages: dict[str, Usage] = {}
        self._absent_until_s = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._http: httpx.AsyncClient | None = None

    def newest(self, hosts: Collection[str]) -> dict[str, Usage]:
        """Without waiting: what is too old is asked for, and is there at a later call.

        `hosts` are the addresses of the nodes that instances run on.
        """
        is_due = self._clock.monotonic_s() - self._asked_at_s >= self._settings.samples_every_s
        if is_due and (self._reading is None or self._reading.done()):
            self._asked_at_s = self._clock.monotonic_s()
            self._reading = asyncio.create_task(self._read(hosts))
        return self._usages

    async def _read(self, hosts: Collection[str]) -> None:
        usages = await self._pod_metrics()
        await self._gpus(hosts, usages)
        self._usages, self.read_at_s = usages, self._clock.utc_s()

    async def close(self) -> None:
        if self._reading is not None:
            await silently(self._reading)
        if self._http is not None:
            await self._http.aclose()

    async def _pod_metrics(self) -> dict[str, Usage]:
        if self._clock.monotonic_s() < self._absent_until_s:
            return {}
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{self._namespace}/pods"
        try:
            return read_pod_metrics(await self._client.get(path, labelSelector=selector(self._settings.owner)))
        except (ApiError, ApiAway, KeyError, TypeError) as error:
            log.info("kubernetes.no_metrics error=%r", error)
            self._absent_until_s = self._clock.monotonic_s() + _ABSENT_FOR_S
            return {}

    async def _gpus(self, hosts: Collection[str], usages: dict[str, Usage]) -> None:
        settings = self._settings
        if settings.prometheus:
            url = f"{settings.prometheus.rstrip('/')}/api/v1/query"
            answer = await self._ask(url, query=query(self._namespace))
            if answer is not None:
                try:
                    read_prometheus(answer.json(), self._namespace, usages)
                except (ValueError, KeyError, TypeError, IndexError) as error:
                    log.warning("kubernetes.no_gpu_figures url=%s error=%r", url, error)
        elif settings.dcgm_port:
            urls = [f"http://{_host(host)}:{settings.dcgm_port}/metrics" for host in sorted(hosts)]
            for page in await asyncio.gather(*(self._ask(url) for url in urls)):
                if page is not None and len(page.content) <= _PAGE_BYTES_MAX:
                    read_exporter(page.text, self._namespace, usages)

    async def _ask(self, url: str, **params: str) -> httpx.Response | None:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)
        try:
            answer = await self._http.get(url, params=params)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            log.info("kubernetes.no_gpu_figures url=%s error=%r", url, error)
            return None
        return answer


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
