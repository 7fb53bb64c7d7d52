"""Stoke's own questions: status, instances, logs, provision with its reasons, metrics."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace

import pytest

from control_plane.explain import Explained, Inputs, PolicyExplained
from control_plane.fleet_views import DeviceView, NodeView, ProvisionStatus
from control_plane.testing import instance_view
from runtime.contract import InstanceState
from runtime.node_contract import InstanceSample, NodeInfo
from tests.api.conftest import NOW_S, Api

AGES = ((0, 8), (5, 2))  # seconds ago, and the target before


async def test_status_says_what_runs(api: Api) -> None:
    api.fleet.views = [
        replace(instance_view("c-1"), in_flight=2),
        replace(instance_view("c-2"), state="LAUNCHING"),
    ]
    code, status = await api.send("GET", "/stoke/v1/status")
    assert code == 200
    assert status["instances"] == {state.value: 0 for state in InstanceState} | {"READY": 1, "LAUNCHING": 1}
    assert (status["region"], status["account_id"], status["in_flight"]) == ("cn-test", "42", 2)
    assert status["public_url"] == "http://gpu.example:9000"
    assert status["version"]
    assert status["node"] is None, "it has not been reached yet"


async def test_status_names_the_devices_and_says_which_are_simulated(api: Api) -> None:
    card = {"index": 0, "name": "simulated card", "memory_mib": 16384, "simulated": True}
    api.fleet.machine = NodeInfo("local", 1, 4096, 2.0, gpus=[card])
    _, status = await api.send("GET", "/stoke/v1/status")
    assert status["node"]["gpus"] == [card]


async def test_nodes_are_shown_with_their_devices_and_what_is_on_them(api: Api) -> None:
    assert await api.send("GET", "/stoke/v1/nodes") == (200, {"nodes": [], "pools": []})
    gpu = {"index": 0, "uuid": "GPU-0", "name": "card", "memory_mib": 16384, "simulated": True}
    node = NodeInfo("local", 1, 4096, 2.0, gpus=[gpu], disk_mib=9, labels={"zone": "a"})
    api.fleet.machines = [NodeView(node, 512, 0.5, 0, 1, (DeviceView(gpu, "ampere", 8192, ("c-1",)),))]
    _, answer = await api.send("GET", "/stoke/v1/nodes")
    (shown,) = answer["nodes"]
    assert (shown["memory_mib"], shown["memory_promised_mib"], shown["instances"]) == (4096, 512, 1)
    assert shown["labels"] == {"zone": "a"}
    assert shown["devices"] == [{**gpu, "family": "ampere", "promised_mib": 8192, "instances": ["c-1"]}]
    assert "gpus" not in shown


async def test_instances_are_shown_with_what_they_use(api: Api) -> None:
    sample = InstanceSample("c-1", 1.0, cpu_utilization=0.5, memory_mib=64.0)
    first = replace(instance_view("c-1"), sample=sample)
    api.fleet.views = [first, instance_view("c-2", function="g"), instance_view("c-3", service="t")]
    assert await api.send("GET", "/stoke/v1/instances?service=s&function=f") == (200, {"instances": [asdict(first)]})
    for query, ids in (("", ["c-1", "c-2", "c-3"]), ("?service=s", ["c-1", "c-2"]), ("?function=f", ["c-1", "c-3"])):
        _, answer = await api.send("GET", f"/stoke/v1/instances{query}")
        assert [view["instance_id"] for view in answer["instances"]] == ids


async def test_provision_says_why(api: Api) -> None:
    await api.function()
    api.fleet.statuses["s.LATEST/f"] = ProvisionStatus(8, 5, 3, "", ("p",), ("stable=3 panic=7",), 0.5, ("pulling",))
    code, answer = await api.send("GET", "/stoke/v1/provision?service=s&function=f")
    assert code == 200
    assert answer == {
        "target": 8,
        "current": 5,
        "starting": 3,
        "currentError": "",
        "in_force": ["p"],
        "reasons": ["stable=3 panic=7"],
        "utilization": 0.5,
        "progress": ["pulling"],
        "reading_error": "",
    }
    for query, code_ in (
        ("service=s", "InvalidArgument"),
        ("service=s&function=g", "FunctionNotFound"),
        ("service=s&function=f&qualifier=prod", "AliasNotFound"),
    ):
        assert (await api.send("GET", f"/stoke/v1/provision?{query}"))[1]["Code"] == code_


async def test_decisions_are_explained_newest_first(api: Api) -> None:
    await api.function()
    assert await api.send("GET", "/stoke/v1/provision/explain?service=s&function=f") == (200, {"decisions": []})
    policies = (PolicyExplained("p", 8, ("panic=12", "bounded 12→8")),)
    inputs = Inputs(2, 0, 1, 1.0, 6.0, 6, 4, 31.0, {"GPUSmUtilization": 0.5}, None)
    made = [Explained(NOW_S - age_s, "LATEST", 8, was, ("bounded 12→8",), policies, inputs) for age_s, was in AGES]
    api.fleet.explanations["s.LATEST/f"] = tuple(made)
    code, answer = await api.send("GET", "/stoke/v1/provision/explain?service=s&function=f&qualifier=LATEST")
    assert code == 200
    assert [one["at_s"] for one in answer["decisions"]] == [NOW_S, NOW_S - 5]
    assert answer["decisions"][1] == {
        "at_s": NOW_S - 5,
        "version": "LATEST",
        "target": 8,
        "was": 2,
        "reasons": ["bounded 12→8"],
        "policies": [{"name": "p", "wanted": 8, "reasons": ["panic=12", "bounded 12→8"]}],
        "inputs": {
            "current": 2,
            "starting": 0,
            "slots_per_instance": 1,
            "interval_s": 1.0,
            "demand": 6.0,
            "demand_peak": 6,
            "waiting": 4,
            "requests_per_second": 31.0,
            "metrics": {"GPUSmUtilization": 0.5},
            "capacity_limit": None,
        },
    }
    for query, code_ in (
        ("service=s", "InvalidArgument"),
        ("service=s&function=g", "FunctionNotFound"),
        ("service=s&function=f&qualifier=prod", "AliasNotFound"),
    ):
        assert (await api.send("GET", f"/stoke/v1/provision/explain?{query}"))[1]["Code"] == code_


async def test_the_end_of_a_log_is_read_as_text(api: Api) -> None:
    api.fleet.outputs = {"c-1": [b"line 1\n", "zeile zwei: ö\n".encode()], "c-2": []}
    answer = await api.client.get("/stoke/v1/instances/c-1/logs")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "line 1\nzeile zwei: ö\n"
    assert (await api.client.get("/stoke/v1/instances/c-1/logs?tail_bytes=4")).text == ": ö\n"[1:]
    assert (await api.client.get("/stoke/v1/instances/c-2/logs")).text == ""


async def test_a_log_that_is_not_there_is_not_found(api: Api) -> None:
    for follow in ("false", "true"):
        code, answer = await api.send("GET", f"/stoke/v1/instances/c-9/logs?follow={follow}")
        assert (code, answer["Code"]) == (404, "InstanceNotFound")
    code, answer = await api.send("GET", "/stoke/v1/instances/c-9/logs?tail_bytes=-1")
    assert (code, answer["Code"]) == (400, "InvalidArgument")


async def test_a_followed_log_goes_on_until_the_instance_ends(api: Api) -> None:
    api.fleet.outputs = {"c-1": [b"begin\n"]}
    reading = asyncio.create_task(api.client.get("/stoke/v1/instances/c-1/logs?follow=true"))
    while not api.fleet.followers:
        await asyncio.sleep(0)
    assert not reading.done()
    api.fleet.followed.set()
    assert (await asyncio.wait_for(reading, 10)).text == "begin\n"


@pytest.mark.parametrize("tail_bytes", [0, 100])
async def test_a_reader_who_goes_away_stops_the_following(api: Api, tail_bytes: int) -> None:
    api.fleet.outputs = {"c-1": [b"begin\n"]}
    path = f"/stoke/v1/instances/c-1/logs?follow=true&tail_bytes={tail_bytes}"
    reading = asyncio.create_task(api.client.get(path))
    while not api.fleet.followers:
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    while api.fleet.followers:
        await asyncio.sleep(0)


async def test_metrics_have_each_provision_config_and_the_instances(api: Api) -> None:
    await api.function()
    await api.made("PUT", "/services/s.LATEST/functions/f/provision-config", {"target": 2})
    api.fleet.statuses["s.LATEST/f"] = ProvisionStatus(8, 5, 3, "", utilization=0.25)
    api.fleet.views = [instance_view("c-1"), instance_view("c-2")]
    answer = await api.client.get("/stoke/v1/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    labels = '{function="f",qualifier="LATEST",service="s"}'
    lines = answer.text.splitlines()
    for name, value in (("target", 8.0), ("current", 5.0), ("starting", 3.0), ("utilization_ratio", 0.25)):
        assert f"stoke_provision_{name}{labels} {value}" in [_sorted_labels(line) for line in lines]
    kinds = '{function="f",kind="provisioned",service="s",state="READY",version="LATEST"}'
    assert f"stoke_instances{kinds} 2.0" in [_sorted_labels(line) for line in lines]
    assert "stoke_node_forks" not in answer.text, "the node has not been reached yet"


async def test_processes_that_are_no_instances_are_told_apart(api: Api) -> None:
    api.fleet.machine = NodeInfo("local", 1, 4096, 2.0, forks={"zygotes": 2, "waiting": 1})
    text = (await api.client.get("/stoke/v1/metrics")).text
    assert 'stoke_node_forks{kind="waiting",node="local"} 1.0' in text
    assert 'stoke_node_forks{kind="zygotes",node="local"} 2.0' in text


def _sorted_labels(line: str) -> str:
    if "{" not in line:
        return line
    name, rest = line.split("{", 1)
    labels, value = rest.rsplit("}", 1)
    return f"{name}{{{','.join(sorted(labels.split(',')))}}}{value}"
