"""An instance of a function whose handler names a model: finds it, and serves it by all protocols."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import uvloop

from runtime.instance.config import InstanceConfig
from runtime.models.model import Model
from runtime.models.providers import Wish
from runtime.models.routes import Answer, Handler, Request, Routes
from runtime.models.server import ModelServer
from runtime.models.session import SessionOptions
from runtime.models.source import Source, find_source
from runtime.models.spec import ModelSpec

if TYPE_CHECKING:
    from runtime.models.oip.api import OipApi

_SWITCH_S: Final = 0.0005
# Of idle mode, where model.yaml does not say: opening the sessions again costs the next request a load.
_IDLE_S: Final = 30.0


def serve(
    config: InstanceConfig,
    drain_s: float,
    on_ready: Callable[[], None],
    event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> None:
    """Until SIGTERM. Raises OSError: nothing can listen. Raises ModelUnusable: it cannot be served; says why."""
    # A session in a thread that is done waits for the interpreter: no longer than a small model takes.
    sys.setswitchinterval(_SWITCH_S)
    with asyncio.Runner(loop_factory=event_loop) as runner:
        runner.run(_serve(config, drain_s, on_ready))


async def _serve(config: InstanceConfig, drain_s: float, on_ready: Callable[[], None]) -> None:
    source = find_source(Path(config.code), config.handler)
    spec = in_idle_mode(source.spec) if config.idle_mode else source.spec
    model = Model(
        source.file,
        source.name,
        spec.version,
        spec=spec,
        options=session_options(source),
        concurrency=config.instance_concurrency,
    )
    # With an initializer the model is run for the first time at POST /initialize, which has a time limit of its own.
    warms_up = not config.initializer
    await ModelServer(model, routes(model), config.socket, drain_s, on_ready, warms_up=warms_up).serve()


def in_idle_mode(spec: ModelSpec) -> ModelSpec:
    """What model.yaml says of idleness goes before what the provision config does."""
    return spec if spec.idle_seconds is not None else msgspec.structs.replace(spec, idle_seconds=_IDLE_S)


def routes(model: Model) -> Routes:
    """What is answered beside plain JSON: the Open Inference Protocol, and what Prometheus asks for."""
    found = Routes()
    inference = functools.cache(lambda: _inference(model))
    found.add(
        "/v2",
        _when_asked(lambda: inference().answer),
        lambda method, path, headers: inference().direct(method, path, headers),
    )
    found.add("/metrics", _when_asked(lambda: _metrics(model)))
    return found


def _when_asked(make: Callable[[], Handler]) -> Handler:
    """A handler that is made for its first request: a cold start need not wait for what many functions never use."""
    made = functools.cache(make)

    async def answer(request: Request) -> Answer:
        return await made()(request)

    return answer


def _inference(model: Model) -> OipApi:
    from runtime.models.oip.api import OipApi, OipSettings

    settings = OipSettings(lambda: version("stoke"), may_unload=model.spec.model_control == "explicit")
    return OipApi([model], settings)


def _metrics(model: Model) -> Handler:
    from runtime.models.oip import metrics
    from runtime.models.oip.machine import Machine

    cards = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    machine = Machine(tuple(card for card in cards if card.startswith(("GPU-", "MIG-"))))
    return metrics.handler([model], machine.gauges)


def session_options(source: Source) -> SessionOptions:
    """What the function asks for, which its environment tells, and what its model.yaml does."""
    spec = source.spec
    share_of_cpu = float(os.environ.get("STOKE_CPU") or 0)
    threads = spec.threads or max(1, math.ceil(share_of_cpu / spec.instances_per_device))
    wish = Wish(
        gpu_memory_mib=int(os.environ.get("STOKE_GPU_MEMORY_MIB") or 0),
        gpu_limit_bytes=int(os.environ.get("STOKE_GPU_MEMORY_LIMIT_BYTES") or 0),
        providers=spec.providers,
        cuda_graphs=spec.cuda_graphs,
        sessions=spec.instances_per_device,
        cache_folder=os.environ.get("TMPDIR", ""),
    )
    return SessionOptions(threads, wish, spec.share_weights)
