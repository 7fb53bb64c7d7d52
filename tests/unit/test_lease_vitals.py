"""When a gateway on another machine is taken for gone, and who is on this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from control_plane.fleet.processes import LocalProcesses
from control_plane.fleet.vitals import RATES_DIFFER, SLACK_S, Vitals
from runtime.gateway.settings import GatewaySettings
from runtime.leasing import LEFT, Holder
from runtime.processes import host_id

FAR = Holder(1, 1, "another boot/pid:[7]", lease_s=10.0)
ENDS_S = 10.0 * (1.0 + RATES_DIFFER) + SLACK_S


def gone(vitals: Vitals, renewals: Mapping[str, str], at_s: float, took_s: float = 0.0) -> set[str]:
    return vitals.look({"g": FAR}, renewals, asked_s=at_s, answered_s=at_s + took_s)


def test_a_lease_lasts_from_the_last_renewal_that_was_seen() -> None:
    vitals = Vitals(1, 0.0)
    assert gone(vitals, {"g": "1"}, 100.0) == set()
    assert gone(vitals, {"g": "1"}, 100.0 + ENDS_S) == set()
    assert gone(vitals, {"g": "2"}, 200.0) == set()  # however late one looks, what is new counts from now
    assert gone(vitals, {"g": "2"}, 200.1 + ENDS_S) == {"g"}


def test_an_answer_that_took_long_says_nothing_of_the_time_it_took() -> None:
    vitals = Vitals(1, 0.0)
    assert gone(vitals, {"g": "1"}, 100.0, took_s=5.0) == set()
    assert gone(vitals, {"g": "1"}, 104.0 + ENDS_S, took_s=60.0) == set()
    assert gone(vitals, {"g": "1"}, 105.1 + ENDS_S) == {"g"}


def test_one_that_never_renewed_has_as_long_as_any() -> None:
    vitals = Vitals(1, 0.0)
    assert gone(vitals, {}, 100.0) == set()
    assert gone(vitals, {}, 100.0 + ENDS_S) == set()
    assert gone(vitals, {}, 100.1 + ENDS_S) == {"g"}


def test_one_that_has_left_is_gone_at_once() -> None:
    assert gone(Vitals(1, 0.0), {"g": LEFT}, 100.0) == {"g"}


def test_who_is_no_holder_any_more_is_forgotten() -> None:
    vitals = Vitals(1, 0.0)
    assert gone(vitals, {"g": "1"}, 100.0) == set()
    assert vitals.look({}, {"g": "1"}, asked_s=150.0, answered_s=150.0) == set()
    assert gone(vitals, {"g": "1"}, 200.0) == set()


def test_only_processes_of_the_same_boot_and_namespace_are_here() -> None:
    processes = LocalProcesses()
    assert processes.is_here(Holder(1, 1))
    assert processes.is_here(Holder(1, 1, host_id(), 10.0))
    assert not processes.is_here(FAR)


def settings(**given: float) -> GatewaySettings:
    return GatewaySettings(listen="127.0.0.1:0", store="unix:///x", control_plane="unix:/x", **given)  # type: ignore[arg-type]


def test_a_gateway_with_a_lease_shares_though_it_knows_of_no_others() -> None:
    assert settings(lease_s=30.0).shares
    assert settings(lease_s=30.0, gateways=2).shares
    assert not settings().shares


def test_words_are_asked_for_only_with_a_lease_and_the_key_to_their_seal(tmp_path: Path) -> None:
    made = replace(settings(lease_s=30.0, lease_away_s=60.0), data=str(tmp_path))
    assert made.word_s == 0.0
    (tmp_path / "secret.key").write_text("x")
    assert made.word_s == 60.0
    assert replace(made, lease_s=0.0).word_s == 0.0


@pytest.mark.parametrize("given", [{"lease_s": 2.9}, {"lease_s": 3601.0}, {"gateways": 2}])
def test_a_lease_that_is_too_short_or_missing_is_refused_by_name(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="--lease-s"):
        settings(**given)
