"""`stoke nodes`: what its table says of a machine and its devices."""

from __future__ import annotations

from typing import Any

from control_plane.cli.nodes import MACHINE, POOL_COLUMNS, pool_row, rows_of

NODE = {"node": "local", "memory_mib": 65536, "memory_promised_mib": 1024, "instances": 2}


def device(**values: Any) -> dict[str, Any]:
    card = {"index": 0, "name": "NVIDIA A10", "memory_mib": 23028, "promised_mib": 8192, "instances": ["a", "b"]}
    return {**card, "is_healthy": True, "at_s": 98.0, **values}


def rows(*devices: dict[str, Any]) -> list[dict[str, str]]:
    return list(rows_of({**NODE, "devices": list(devices)}, 100.0))


def test_the_machine_comes_first_and_then_its_devices() -> None:
    machine, card = rows(device(family="ampere", memory_used_mib=5000, utilization=0.25, sharing="mps"))
    assert (machine["device"], machine["memory"], machine["promised"]) == (MACHINE, "65536 MiB", "1024 MiB")
    assert card == {
        "node": "local", "device": "0 NVIDIA A10", "family": "ampere", "memory": "23028 MiB", "promised": "8192 MiB",
        "used": "5000 MiB", "busy": "25 %", "instances": "2", "health": "healthy", "sharing": "mps", "age": "2 s",
    }  # fmt: skip


def test_a_device_that_is_not_healthy_says_why() -> None:
    assert (
        rows(device(is_healthy=False, reason="it has fallen off the bus"))[1]["health"] == "it has fallen off the bus"
    )


def test_time_slicing_says_why_it_is_not_mps() -> None:
    why = "nvidia-cuda-mps-control is not in PATH"
    assert rows(device(sharing="time-slicing", sharing_reason=why))[1]["sharing"] == f"time-slicing ({why})"


def test_slices_stand_below_their_card_which_promises_nothing_itself() -> None:
    card, part = rows(device(is_divided=True, sharing="slices"), device(kind="slice", name="MIG 1g.10gb"))[1:]
    assert (card["promised"], card["instances"], card["sharing"]) == ("", "", "slices")
    assert part["device"] == "  0 MIG 1g.10gb"


def test_a_simulated_device_is_called_so_whatever_its_name() -> None:
    assert rows(device(name="simulated", simulated=True))[1]["device"] == "0 simulated"
    assert rows(device(name="card", simulated=True))[1]["device"] == "0 card (simulated)"


def test_a_pool_that_is_out_says_why() -> None:
    pool = {
        "name": "spot-a", "kind": "spot", "price": 0.9, "instances": 3, "ready": 2, "is_out": True, "reason": "no room",
        "reclaims": 4, "compensations": 0,
    }  # fmt: skip
    row = pool_row(pool)
    assert tuple(row) == POOL_COLUMNS
    assert [*row.values()] == ["spot-a", "spot", "0.9", "3", "2", "4", "0", "out: no room"]
    assert pool_row({**pool, "is_out": False})["stock"] == "in stock"
