"""What a function asks of the place it is put in, from the fields that FC's users give, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from control_plane.fleet.needs import need_of
from control_plane.fleet.placement import Need
from control_plane.model import Function


def function(**fields: Any) -> Function:
    return Function.model_validate({"serviceName": "s", "functionName": "f", "runtime": "custom", **fields})


def test_a_function_needs_what_it_asks_for() -> None:
    asked = function(
        memorySize=4096, cpu=2, diskSize=10_240, instanceType="fc.gpu.ampere.1", gpuMemorySize=8192,
        stoke={"placement": {"labels": {"zone": "a", "disk": "ssd"}, "priority": 7}},
    )  # fmt: skip
    labels = (("disk", "ssd"), ("zone", "a"))
    assert need_of(asked) == Need(4096, 8192, 2.0, 10_240, "fc.gpu.ampere.1", labels, 7)


def test_a_function_that_asks_for_nothing_may_be_anywhere() -> None:
    assert need_of(function()) == Need(512, instance_type="e1")


def test_a_gpu_function_without_a_size_needs_a_whole_card_of_its_type() -> None:
    assert need_of(function(instanceType="fc.gpu.ada.1")).gpu_memory_mib == 49_152


@pytest.mark.parametrize(
    ("placement", "where"),
    [
        ({"priority": 10}, "stoke.placement.priority"),
        ({"priority": True}, "stoke.placement.priority"),
        ({"labels": {"a b": "c"}}, "stoke.placement.labels"),
        ({"labels": {"a": ""}}, "stoke.placement.labels"),
        ({"label": {}}, "stoke.placement.label"),
    ],
)
def test_a_placement_that_makes_no_sense_is_refused_by_name(placement: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as refused:
        function(stoke={"placement": placement})
    assert where in str(refused.value).replace("\n", ".")
