"""A burst of connects at one socket."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from runtime.http.listening import ACCEPTED_IN_A_ROUND, UNSENT_BYTES_MAX, Listener

CONNECTS = 4 * ACCEPTED_IN_A_ROUND


class Accepted(asyncio.Protocol):
    rounds = 0
    seen: list[int]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.seen.append(Accepted.rounds)
        transport.close()


def is_open(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("make_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_burst_of_connects_is_taken_in_a_few_rounds_of_a_busy_loop(make_loop: object) -> None:
    async def burst() -> int:
        Accepted.rounds, Accepted.seen = 0, []
        loop = asyncio.get_running_loop()
        sock = socket.create_server(("127.0.0.1", 0), backlog=CONNECTS)
        address = sock.getsockname()
        listener = Listener(loop, Accepted, sock)
        await listener.begin(CONNECTS)
        clients = [socket.create_connection(address) for _ in range(CONNECTS)]
        while len(Accepted.seen) < CONNECTS:
            Accepted.rounds += 1
            await asyncio.sleep(0)  # a round
        listener.close()
        for client in clients:
            client.close()
        while is_open(address):  # its descriptors are closed in one of the next rounds
            await asyncio.sleep(0)
        return Accepted.seen[-1] - Accepted.seen[0] + 1

    with asyncio.Runner(loop_factory=make_loop) as runner:  # type: ignore[arg-type]
        rounds = runner.run(asyncio.wait_for(burst(), 15.0))
    assert rounds <= 2 * CONNECTS / ACCEPTED_IN_A_ROUND


class Generous(asyncio.Protocol):
    """Writes until the kernel takes no more."""

    taken_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        sock = transport.get_extra_info("socket")
        unread_bytes_max = 16 << 20
        while not transport.get_write_buffer_size() and self.taken_bytes < unread_bytes_max:
            transport.write(bytes(64 << 10))
            Generous.taken_bytes += 64 << 10
        Generous.limit_bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        transport.abort()
        self.done.set_result(None)

    limit_bytes = 0
    done: asyncio.Future[None]


def test_the_kernel_takes_little_for_a_client_that_reads_nothing() -> None:
    async def give() -> None:
        loop = asyncio.get_running_loop()
        Generous.done = loop.create_future()
        sock = socket.create_server(("127.0.0.1", 0))
        listener = Listener(loop, Generous, sock)
        await listener.begin(1)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, sock.getsockname())
        await Generous.done
        client.close()
        listener.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(asyncio.wait_for(give(), 15.0))
    assert Generous.limit_bytes == UNSENT_BYTES_MAX
    assert Generous.taken_bytes <= 2 * UNSENT_BYTES_MAX
