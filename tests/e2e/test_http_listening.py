"""A burst of connects at one socket."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from runtime.http.listening import ACCEPTED_IN_A_ROUND, Listener

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
