"""Admission at a real gateway, as clients see it: priorities, deadlines, bounds, rate limits, rules and sessions."""

from __future__ import annotations

import asyncio
from collections import Counter

from runtime.contract import ROUTES_KEY, InstanceState, TriggerRoute, trigger_field
from tests.support.gateway import Client, Reply, Request, World, plain, read_reply, request_bytes, world

TRIGGER = "/2016-08-15/proxy/s/f/"


class Valve:
    """An instance's answer that waits until it is let go, one request after the other."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(0)

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await self._turns.acquire()
        writer.write(plain(request.body or b"ok"))

    def let(self, count: int) -> None:
        for _ in range(count):
            self._turns.release()


async def queued(w: World, count: int) -> None:
    async with w.reports() as report:
        await report(lambda r: sum(each["queued"] for each in r.functions) == count)


async def send(w: World, body: bytes, **headers: str) -> Client:
    client = await w.connect()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client.writer.write(request_bytes("POST", TRIGGER, named, body))
    return client


async def reply_to(client: Client) -> Reply:
    async with asyncio.timeout(15.0):
        reply = await read_reply(client.reader)
    await client.close()
    return reply


async def test_a_request_that_stands_back_waits_for_all_others(store_url: str) -> None:
    async with world(store_url) as w:
        valve = Valve()
        instance = await w.start_instance("i1", valve)
        await w.settle()
        clients = [await send(w, b"holds")]
        await w.until(lambda: instance.in_flight == 1)
        for n, (body, priority) in enumerate(((b"back", "1"), (b"first", "9"), (b"second", "5"))):
            clients.append(await send(w, body, x_stoke_priority=priority))
            await queued(w, n + 1)
        valve.let(4)
        assert [(await reply_to(client)).status for client in clients] == [200] * 4
        # The client of an open trigger may not call itself more important than the trigger: 9 counts as 5.
        assert [request.body for request in instance.requests] == [b"holds", b"first", b"second", b"back"]
        assert instance.requests[1].headers["x-stoke-priority"] == "9"  # the function may read it too
        reply = await w.ask("GET", TRIGGER, {"x-stoke-priority": "urgent"})
        assert (reply.status, reply.json()["ErrorCode"]) == (400, "InvalidArgument")


async def test_the_priority_of_a_trigger_is_that_of_its_requests_and_a_full_queue_lets_them_in(store_url: str) -> None:
    async with world(store_url, "--queue-length-max", "1") as w:
        await w.put_trigger(priority=2)
        await w.put_trigger(qualifier="urgent", priority=8)
        await w.put_alias("urgent", "LATEST")
        await w.settle()
        back = await send(w, b"back")
        await queued(w, 1)
        urgent = asyncio.create_task(w.ask("POST", "/2016-08-15/proxy/s.urgent/f/", body=b"urgent"))
        outrun = await reply_to(back)
        assert (outrun.status, outrun.headers["retry-after"]) == (429, "1")
        assert "went to a request of higher priority" in outrun.json()["ErrorMessage"]
        await w.start_instance("i1")
        assert (await urgent).body == b"urgent"


async def test_a_request_whose_client_would_be_gone_is_refused_when_its_time_is_over(store_url: str) -> None:
    async with world(store_url) as w:
        valve = Valve()
        instance = await w.start_instance("i1", valve)
        await w.settle()
        holds = await send(w, b"holds")
        await w.until(lambda: instance.in_flight == 1)
        late = await reply_to(await send(w, b"late", request_timeout="0.05"))
        assert (late.status, late.json()["ErrorCode"]) == (429, "ResourceExhausted")
        assert late.json()["ErrorMessage"] == "no instance became free within 0.05 s"
        assert 1 <= int(late.headers["retry-after"]) <= 60
        patient = await send(w, b"patient", x_request_timeout="10")
        await queued(w, 1)
        valve.let(2)
        assert [(await reply_to(client)).status for client in (holds, patient)] == [200, 200]
        assert [request.body for request in instance.requests] == [b"holds", b"patient"]


async def test_a_request_that_would_wait_too_long_is_refused_before_it_waits(store_url: str) -> None:
    async with world(store_url) as w:
        await w.put_function(queue_wait_s_max=1.0)

        async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.1)
            writer.write(plain())

        instance = await w.start_instance("i1", slow)
        await w.settle()
        asking = [asyncio.create_task(w.ask("POST", TRIGGER, body=b"x")) for _ in range(40)]
        replies = await asyncio.gather(*asking)
        # It is learned from the first turns: then ten wait, as ten are served within a second.
        again = [asyncio.create_task(w.ask("POST", TRIGGER, body=b"y")) for _ in range(40)]
        replies += await asyncio.gather(*again)
        statuses = Counter(reply.status for reply in replies)
        assert set(statuses) == {200, 429}
        messages = {r.json()["ErrorMessage"].partition(",")[0] for r in replies[40:] if r.status == 429}
        assert "no instance is free" in messages, "refused at once, not after a wait"
        assert all(1 <= int(r.headers["retry-after"]) <= 60 for r in replies if r.status == 429)
        assert instance.in_flight_peak == 1


async def test_one_functions_flood_leaves_room_for_anothers_request(store_url: str) -> None:
    async with world(store_url, "--all-queues-length-max", "6") as w:
        await w.put_function("quiet")
        trigger = TriggerRoute("s", "quiet", "LATEST", "q", "anonymous", ["POST"], "")
        await w.write(ROUTES_KEY, trigger_field("s", "quiet", "q"), trigger.to_json())
        await w.settle()
        flood = [await send(w, b"%d" % n) for n in range(6)]
        await queued(w, 6)
        refused = await w.ask("POST", TRIGGER, body=b"one more")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert "6 requests wait already, 6 of them for this function" in refused.json()["ErrorMessage"]
        quiet = asyncio.create_task(w.ask("POST", "/2016-08-15/proxy/s/quiet/", body=b"quiet"))
        outrun = await reply_to(flood.pop())  # the last that came
        assert outrun.status == 429
        await w.start_instance("i1")
        await w.start_instance("q1", function="quiet")
        assert (await quiet).body == b"quiet"
        assert [(await reply_to(client)).status for client in flood] == [200] * 5


async def test_what_waits_is_bounded_in_bytes(store_url: str) -> None:
    async with world(store_url, "--queue-bytes-max", "100000") as w:
        held = await send(w, b"x" * 60_000)
        await queued(w, 1)
        refused = await w.ask("POST", TRIGGER, body=b"y" * 60_000)
        assert refused.status == 429
        assert "bytes: 100000 are allowed" in refused.json()["ErrorMessage"]
        small = await send(w, b"z")
        await queued(w, 2)
        await w.start_instance("i1")
        assert [(await reply_to(client)).status for client in (held, small)] == [200, 200]


async def test_more_than_a_functions_rate_is_refused_with_the_time_of_the_next(store_url: str) -> None:
    async with world(store_url) as w:
        await w.put_function(requests_per_s=0.5, requests_burst=3.0)
        instance = await w.start_instance("i1")
        await w.settle()
        client = await w.connect()
        replies = [await client.ask("POST", TRIGGER, body=b"x") for _ in range(5)]
        assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
        assert replies[3].json()["ErrorCode"] == "ResourceThrottled"
        assert "function 'f' version 'LATEST' allows: 0.5 each second, 3 at once" in replies[3].json()["ErrorMessage"]
        assert replies[3].headers["retry-after"] == "2"
        assert len(instance.requests) == 3
        await client.close()


async def test_more_than_an_access_keys_rate_is_refused(store_url: str) -> None:
    async with world(store_url, "--key-requests-per-s", "0.1", "--key-requests-burst", "2") as w:
        await w.start_instance("i1")
        await w.settle()
        path = "/2016-08-15/services/s/functions/f/invocations"
        replies = [await w.ask("POST", path, body=b"x") for _ in range(3)]
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert "access key 'test-key' allows: 0.1 each second" in replies[2].json()["ErrorMessage"]
        assert (await w.ask("POST", TRIGGER, body=b"x")).status == 200  # an open trigger asks for no key


async def test_an_aliass_rules_send_a_request_to_the_other_version(store_url: str) -> None:
    async with world(store_url) as w:
        policy = {"policyItems": [{"type": "Cookie", "key": "beta", "operator": "=", "value": "1"}]}
        for version in ("1", "2"):
            await w.put_function(version=version)
            await w.start_instance(f"v{version}", version=version)
        await w.put_alias("prod", "1", additional_version_weight={"2": 0.0}, route_policy=policy)
        await w.put_trigger(qualifier="prod")
        await w.settle()
        client = await w.connect()
        for cookie, version in (("beta=1", "2"), ("beta=0", "1"), ("beta=1", "2"), ("beta=1", "2"), ("x=beta=1", "1")):
            reply = await client.ask("GET", "/2016-08-15/proxy/s.prod/f/", {"cookie": cookie})
            assert reply.headers["x-fc-invocation-service-version"] == version, cookie
        await client.close()


async def test_a_session_stays_with_its_instance_until_that_goes(store_url: str) -> None:
    async with world(store_url) as w:
        await w.put_trigger(session_by="Cookie", session_name="sid")
        for n in range(4):
            await w.start_instance(f"i{n}", slots=8)
        await w.settle()

        async def instance_of(session: str) -> str:
            return (await w.ask("GET", TRIGGER, {"cookie": f"sid={session}"})).headers["x-fc-instance-id"]

        homes = {session: await instance_of(session) for session in map(str, range(16))}
        assert len(set(homes.values())) > 1
        await w.start_instance("new", slots=8)
        await w.settle()
        assert {session: await instance_of(session) for session in homes} == homes
        gone = homes["0"]
        await w.put_instance(gone, w.instances[gone].address, InstanceState.DRAINING, slots=8)
        await w.settle()
        after = {session: await instance_of(session) for session in homes}
        assert gone not in after.values()
        assert all(after[session] == home for session, home in homes.items() if home != gone)


async def test_an_instance_that_fails_while_others_do_not_is_left_out_and_tried_again(store_url: str) -> None:
    async with world(store_url, "--outlier-failures", "3", "--outlier-least-s", "0.3") as w:
        is_broken = True

        async def broken(request: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(plain(b"no", "500 Internal Server Error") if is_broken else plain())

        bad = await w.start_instance("bad", broken)
        await w.start_instance("good")
        await w.settle()
        client = await w.connect()

        async def ask() -> int:
            return (await client.ask("GET", TRIGGER)).status

        # The one that was used last takes the next: the broken one would take them all.
        await w.put_instance("bad", bad.address, reason="again")
        await w.settle()
        statuses = [await ask() for _ in range(10)]
        assert statuses.count(500) == 3
        assert "instance-left-out instance=bad for_s=0.3" in w.gateway.log()
        is_broken = False
        await w.until(lambda: "instance-tried-again instance=bad" in w.gateway.log())
        assert [await ask() for _ in range(10)] == [200] * 10
        await client.close()


async def test_an_instance_that_breaks_off_requests_stays_out_however_well_it_connects(store_url: str) -> None:
    async with world(store_url, "--outlier-failures", "3", "--outlier-least-s", "30") as w:

        async def break_off(request: Request, writer: asyncio.StreamWriter) -> None:
            writer.close()

        await w.start_instance("good")
        bad = await w.start_instance("bad", break_off)
        await w.settle()
        clients = [await w.connect() for _ in range(2)]  # one slot each: both instances are asked while they may be

        async def ask() -> None:
            replies = await asyncio.gather(*(client.ask("GET", TRIGGER) for client in clients))
            assert {reply.status for reply in replies} == {200}

        async def is_left_out() -> bool:
            await ask()
            return "instance-left-out instance=bad" in w.gateway.log()

        await w.until(is_left_out)
        # A probe of one that broke off a request succeeds after 50 ms: long enough for several.
        for _ in range(300):
            await ask()
        assert len(bad.requests) == 3
        for client in clients:
            await client.close()


async def test_a_function_that_fails_everywhere_keeps_its_instances(store_url: str) -> None:
    async with world(store_url, "--outlier-failures", "3") as w:

        async def broken(request: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(plain(b"no", "500 Internal Server Error"))

        for name in ("i1", "i2"):
            await w.start_instance(name, broken, slots=2)
        await w.settle()
        clients = [await w.connect() for _ in range(4)]
        for _ in range(20):
            replies = await asyncio.gather(*(client.ask("GET", TRIGGER) for client in clients))
            assert {reply.status for reply in replies} == {500}, "answered by an instance, every one"
        assert w.gateway.log().count("instance-left-out") <= 1
        for client in clients:
            await client.close()


async def test_a_dying_functions_requests_are_not_sent_again_beyond_the_budget(store_url: str) -> None:
    async with world(store_url, "--retry-share", "0", "--retry-least-per-s", "0.3") as w:

        async def die(request: Request, writer: asyncio.StreamWriter) -> None:
            writer.close()

        instance = await w.start_instance("i1", die)
        replies = [await w.ask("GET", TRIGGER) for _ in range(5)]
        assert {reply.status for reply in replies} == {502}
        assert len(instance.requests) == 5 + 3  # three for ten seconds
        assert "too many requests of this function were already" in replies[-1].json()["ErrorMessage"]
