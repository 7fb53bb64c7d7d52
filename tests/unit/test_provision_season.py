from __future__ import annotations

import pytest

from provision.config import Season
from provision.season import Profile


def test_a_season_begins_with_nothing_seen() -> None:
    profile = Profile.of(Season.DAY)
    assert profile.at(0) is None
    assert profile.mean() == 0.0


def test_without_a_season_nothing_is_ever_known() -> None:
    profile = Profile.of(Season.NONE).seen(3, 5.0)
    assert (profile.at(3), profile.mean(), profile.codes) == (None, 0.0, b"")


@pytest.mark.parametrize(("season", "buckets"), [(Season.DAY, 288), (Season.WEEK, 2016)])
def test_the_same_time_of_the_next_season_is_the_same_bucket(season: Season, buckets: int) -> None:
    profile = Profile.of(season).seen(7, 5.0)
    assert [profile.at(7 + buckets * n) for n in range(3)] == [5.0] * 3
    assert profile.at(8) is None
    assert len(profile.codes) == 2 * buckets


def test_the_newest_season_counts_half_and_the_one_before_a_quarter() -> None:
    profile = Profile.of(Season.DAY).seen(0, 16.0).seen(0, 0.0)
    assert profile.at(0) == 8.0
    assert profile.seen(0, 32.0).at(0) == 20.0


@pytest.mark.parametrize("value", [0.0, 1e-6, 0.07, 1.0, 3.3, 250.0, 1e7, 1e30])
def test_a_value_is_kept_to_half_a_percent(value: float) -> None:
    assert Profile.of(Season.DAY).seen(0, value).at(0) == pytest.approx(value, rel=0.005)


def test_the_mean_is_over_what_was_seen() -> None:
    assert Profile.of(Season.DAY).seen(0, 2.0).seen(100, 4.0).mean() == 3.0


def test_a_profile_survives_its_way_to_the_store() -> None:
    profile = Profile.of(Season.WEEK).seen(0, 2.0).seen(2015, 4.0)
    assert Profile.from_text(profile.to_text()) == profile
    with pytest.raises(ValueError, match="odd number"):
        Profile.from_text(Profile(b"\0" * 3).to_text())


def test_a_profile_of_another_season_does_not_fit() -> None:
    assert Profile.of(Season.DAY).fits(Season.DAY)
    assert not Profile.of(Season.DAY).fits(Season.WEEK)
    assert Profile.of(Season.NONE).fits(Season.NONE)
