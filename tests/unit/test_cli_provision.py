"""`stoke provision`: what is sent, what is shown, and when waiting for instances ends."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from control_plane.cli.choosing import Chosen
from control_plane.cli.client import Client
from control_plane.cli.failures import BadInput, Failed
from control_plane.cli.output import Output
from control_plane.cli.provision import described, provision_body, wait_until_ready
from tests.support.fake_fc import FakeFc

DATA = Path(__file__).parents[1] / "data"
ONE = Chosen("one", "svc", "fn")


def write(folder: Path, text: str) -> Path:
    path = folder / "provision.json"
    path.write_text(text)
    return path


def test_a_users_file_is_sent_word_for_word() -> None:
    path = DATA / "provision.json"
    assert provision_body(path, None, None, None) == json.loads(path.read_text())


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert provision_body(write(tmp_path, '\ufeff{"target": 2}'), None, None, None) == {"target": 2}


def test_options_win_over_the_file() -> None:
    policy = {"name": "p", "metricType": "CPUUtilization", "metricTarget": 0.5, "minCapacity": 1, "maxCapacity": 3}
    body = provision_body(DATA / "provision.json", 5, "[]", json.dumps([policy]))
    assert body == {"target": 5, "scheduledActions": [], "targetTrackingPolicies": [policy]}


def test_a_target_alone_is_enough() -> None:
    assert provision_body(None, 3, None, None) == {"target": 3}


def test_neither_file_nor_target_is_refused() -> None:
    with pytest.raises(BadInput, match="give --config FILE, or --target N"):
        provision_body(None, None, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ('{"target": -1}', "target"),
        ('{"target": 1, "targets": 2}', "targets"),
        ('{"target": 1, "target": 0}', "not valid JSON: target is given twice"),
        ('{"target": 1, "scheduledActions": [{"name": "a", "name": "b"}]}', "not valid JSON: name is given twice"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_sent(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(BadInput, match=f"provision.json: .*{expected}"):
        provision_body(write(tmp_path, text), None, None, None)


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        provision_body(write(tmp_path, '{"target": -1, "targets": 2}'), None, None, None)
    assert len(str(caught.value).splitlines()) == 2


def test_wrong_options_are_refused_by_their_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--scheduled-actions: must be a JSON list"):
        provision_body(None, 1, "{}", None)
    with pytest.raises(BadInput, match="--target-tracking-policies: not valid JSON"):
        provision_body(None, 1, None, "x")
    with pytest.raises(BadInput, match="cannot be read"):
        provision_body(tmp_path / "none.json", None, None, None)


def test_a_config_is_shown_with_fcs_fields_and_its_resource_in_parts() -> None:
    shown = described({"resource": "1#svc#LATEST#fn", "target": 2, "current": 1, "currentError": None, "etag": "x"})
    assert shown == {
        "serviceName": "svc",
        "qualifier": "LATEST",
        "functionName": "fn",
        "resource": "1#svc#LATEST#fn",
        "target": 2,
        "current": 1,
        "currentError": "",
        "scheduledActions": [],
        "targetTrackingPolicies": [],
        "alwaysAllocateCPU": True,
        "alwaysAllocateGPU": True,
    }


def wait(*statuses: dict[str, object], timeout_s: float = 30.0) -> str:
    fc, said = FakeFc(), io.StringIO()
    fc.statuses = list(statuses)
    client = Client("http://fc.test", None, transport=fc.transport())
    wait_until_ready(client, ONE, "LATEST", timeout_s, Output(None, stderr=said), pause=lambda _: None)
    return said.getvalue()


def test_progress_is_said_once_for_each_change() -> None:
    said = wait(
        {"target": 2, "current": 0, "starting": 2},
        {"target": 2, "current": 0, "starting": 2},
        {"target": 2, "current": 1, "starting": 1},
        {"target": 2, "current": 2, "starting": 0},
    )
    assert said.splitlines() == [
        "target 2 · current 0 · 2 starting",
        "target 2 · current 1 · 1 starting",
        "target 2 · current 2",
        "ready: target 2 · current 2",
    ]


def test_when_the_time_is_over_it_says_how_far_it_came_and_why() -> None:
    with pytest.raises(Failed, match=r"still target 2 · current 0 · 1 starting after 0 s: no engine") as caught:
        wait({"target": 2, "current": 0, "starting": 1, "currentError": "no engine"}, timeout_s=0.0)
    assert caught.value.exit_code == 1
