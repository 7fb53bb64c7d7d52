"""The gateway's process: puts the parts together, serves until SIGTERM, lets what is in flight finish."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import gc
import logging
import os
import resource
import signal
import socket
import sys
from secrets import token_hex

import uvloop

from runtime.access.sealing import read_box
from runtime.compiled import REQUESTS
from runtime.gateway.feeds import Store
from runtime.gateway.gateway import Gateway
from runtime.gateway.lease_term import LeaseTerm
from runtime.gateway.lessor_line import LessorLine
from runtime.gateway.loops import Loops
from runtime.gateway.settings import GatewaySettings, read_settings, split_address
from runtime.gateway.tenure import Tenure, end_in_time
from runtime.gateway.tls import read_certificate, tls_listener
from runtime.http.listening import Listener
from runtime.http.server import Server
from runtime.http.tls import Certificate
from runtime.leasing import LEASE_KEY_PURPOSE
from runtime.processes import start_time

log = logging.getLogger("runtime.gateway")

_BACKLOG = 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h's names for mallopt
# Before requests are let in: so long for a store that is away, and on top of that for one that has much to tell.
_STORE_AWAY_S = 1.0
_FIRST_LOAD_S = 5.0
_END_S = 0.5  # of a lease that was lost, for the process to end in


def main() -> int:
    try:
        settings = read_settings(sys.argv[1:], os.environ)
    except ValueError as error:
        sys.stderr.write(f"stoke gateway: {error}\n")
        return 2
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if not settings.id:
        settings = dataclasses.replace(settings, id=f"gateway-{os.getpid()}")
    if settings.shares:
        # Who shares instances must never be taken for another, not even for one that had the same pid.
        chance = f"-{token_hex(6)}" if settings.lease_s else ""  # in containers both numbers may be the same
        settings = dataclasses.replace(settings, id=f"{settings.id}-{start_time(os.getpid())}{chance}")
    _allow_many_files()
    _keep_freed_memory()
    try:
        certificate = read_certificate(settings)
    except ValueError as error:
        sys.stderr.write(f"stoke gateway: {error}\n")
        return 2
    try:
        sock = listening_socket(settings)
    except OSError as error:
        sys.stderr.write(f"stoke gateway: cannot listen: {error}\n")
        return 1
    return int(not uvloop.run(serve(settings, sock, certificate)))


async def serve(settings: GatewaySettings, sock: socket.socket, certificate: Certificate | None = None) -> bool:
    """Serve at the socket until SIGTERM or SIGINT, and a little longer. With a certificate, over TLS. Gives whether it
    ends because it was told to."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    store = Store(settings.store, with_leases=settings.shares, gateway_id=settings.id)
    tenure = _tenure(settings, store) if settings.lease_s else None
    gateway = Gateway(loop, settings, store.publish, store.publish_lease)
    if tenure is not None:
        gateway.metrics.lease = lambda: tenure.state
    server = Server(loop, gateway.handle, settings.server_limits)
    work = {
        "feed": store.follow(gateway.news),
        "reports": gateway.reporter.run(),
        "asynchronous": gateway.async_invocations.run(),
    }
    if settings.shares:
        work["slots"] = _share(gateway, tenure, stop)
    if settings.gateways > 1 and settings.sockets:
        work["figures"] = gateway.siblings.serve()
    background = Loops(work, stop.set)
    # Connects wait at the socket meanwhile; a gateway that starts again has an answer for each of them.
    for wait_s in (_STORE_AWAY_S, _FIRST_LOAD_S):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gateway.news.loaded.wait(), wait_s)
        if gateway.news.loaded.is_set() or store.is_away:
            break
    host, port = sock.getsockname()[:2]
    listener = (
        Listener(loop, server.connection, sock)
        if certificate is None
        else tls_listener(loop, settings, certificate, server, sock)
    )
    await listener.begin(_BACKLOG)
    log.info("listening host=%s port=%s compiled=%s", host, port, REQUESTS.is_used())
    gc.collect()
    gc.freeze()  # what the start has made stays: no collection needs to look at it again
    await stop.wait()
    log.info("stopping connections=%d", len(server.connections))
    # The feed and the reports go on meanwhile: what is in flight may need a new instance yet.
    timeout_s, grace_s = settings.shutdown_timeout_s, settings.shutdown_grace_s
    if tenure is not None and tenure.lost.is_set():
        timeout_s = min(timeout_s, max(0.0, tenure.left_s - _END_S))
        grace_s = 0.0  # without slots there is nothing to answer with
    drained = loop.create_task(gateway.async_invocations.drain(timeout_s))
    cut = await server.drain(timeout_s, grace_s, listener.shut)
    listener.close()  # it is open yet where there was no time to shut it
    await drained
    await background.close()
    with contextlib.suppress(asyncio.CancelledError):
        await gateway.close()
    if tenure is not None and not tenure.lost.is_set():
        await tenure.leave()
    await store.close()
    log.info("stopped cut=%d", cut)
    return not background.has_died


def _tenure(settings: GatewaySettings, store: Store) -> Tenure:
    """Raises ValueError or OSError: secret.key is none."""
    lessors = None
    if settings.word_s:
        key = read_box(settings.secret_key_path).derive(LEASE_KEY_PURPOSE)
        lessors = LessorLine(settings.control_plane, key)
    return Tenure(LeaseTerm(settings.id, settings.lease_s, settings.word_s), store, lessors)


async def _share(gateway: Gateway, tenure: Tenure | None, stop: asyncio.Event) -> None:
    """Ask for slots and obey what is granted. With a lease, for as long as that can be renewed."""
    if tenure is None:
        await gateway.sharing.run()
        return
    await tenure.begin()
    end_in_time(tenure)
    reports = asyncio.create_task(gateway.sharing.run())
    try:
        await tenure.run()
        gateway.sharing.give_up()
        stop.set()
    finally:
        reports.cancel()
        await asyncio.gather(reports, return_exceptions=True)


def listening_socket(settings: GatewaySettings) -> socket.socket:
    """The socket to serve at: inherited, or bound here.

    Raises:
        OSError: the address cannot be had.
    """
    if settings.listen_fd >= 0:
        return socket.socket(fileno=settings.listen_fd)
    host, port = split_address(settings.listen)
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.gateways > 1:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(address)
    sock.listen(_BACKLOG)
    return sock


def _allow_many_files() -> None:
    """Each request takes two descriptors; the usual soft limit of 1024 is meant for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _keep_freed_memory() -> None:
    """Pieces of large bodies come and go; to give each back to the kernel at once would cost 64 page faults a piece.

    These are glibc's (mallopt(3)); another C library has no such function, and goes on as it does.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(_M_TRIM_THRESHOLD, 64 * 2**20)  # so much is kept at most
