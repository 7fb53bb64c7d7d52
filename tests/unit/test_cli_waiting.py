"""How long `provision put` waits, told in time."""

from __future__ import annotations

from control_plane.cli.waiting import Progress, Verdict, Watch, judge


def verdicts(*looks: tuple[float, Progress]) -> list[Verdict]:
    """What is decided at each look, a look being (seconds, what was seen)."""
    watch, given = Watch(), []
    for now_s, seen in looks:
        watch, verdict = judge(watch, seen, now_s)
        given.append(verdict)
    return given


def test_progress_reads_as_a_sentence() -> None:
    assert str(Progress(8, 5, 3)) == "target 8 · current 5 · 3 starting"
    pulled = {"target": 1, "starting": 1, "progress": ["pulling image 'i': 1.0 of 9.0 MiB"]}
    assert str(Progress.from_reply(pulled)).endswith("1 starting · pulling image 'i': 1.0 of 9.0 MiB")
    assert str(Progress(2, 2, 0)) == "target 2 · current 2"


def test_progress_is_read_from_an_answer_with_gaps() -> None:
    assert Progress.from_reply({"target": 3, "current": None}) == Progress(3, 0, 0, "")


def test_it_is_done_when_two_looks_in_a_row_see_enough_instances() -> None:
    up = Progress(2, 2, 0)
    assert verdicts((0.0, Progress(2, 0, 2)), (0.3, up), (0.6, up)) == [Verdict.WAIT, Verdict.WAIT, Verdict.DONE]


def test_one_look_from_before_the_change_does_not_end_it() -> None:
    before, after = Progress(2, 2, 0), Progress(8, 2, 6)
    assert verdicts((0.0, before), (0.3, after), (0.6, after))[-1] is Verdict.WAIT


def test_scaling_in_is_done_at_once() -> None:
    less = Progress(1, 4, 0)
    assert verdicts((0.0, less), (0.3, less))[-1] is Verdict.DONE


def test_an_error_that_stands_for_five_seconds_ends_it() -> None:
    broken = Progress(2, 0, 1, "no container engine")
    assert verdicts((0.0, broken), (4.9, broken)) == [Verdict.WAIT, Verdict.WAIT]
    assert verdicts((0.0, broken), (5.0, broken)) == [Verdict.WAIT, Verdict.FAILED]


def test_an_error_that_goes_away_is_forgotten() -> None:
    broken, fine = Progress(2, 0, 1, "exited"), Progress(2, 0, 2)
    assert Verdict.FAILED not in verdicts((0.0, broken), (4.0, fine), (4.5, broken), (9.0, broken))


def test_an_error_does_not_count_while_instances_still_get_ready() -> None:
    looks = [(float(n), Progress(20, n, 1, "one exited")) for n in range(12)]
    assert Verdict.FAILED not in verdicts(*looks)


def test_what_those_that_start_wait_for_does_not_end_it_though_it_is_shown_as_an_error() -> None:
    full = "Unschedulable: 0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    waits = Progress(2, 1, 1, full, waits_for=f"ContainerCreating; {full}")
    assert Verdict.FAILED not in verdicts((0.0, waits), (60.0, waits))
    given_up = Progress(2, 1, 1, f"Function instance could not be started: {full}", waits_for=full)
    assert verdicts((0.0, given_up), (5.0, given_up))[-1] is Verdict.FAILED


def test_a_figure_that_is_missing_is_no_launch_that_fails() -> None:
    """A model takes a minute to load; that a Prometheus is away meanwhile is shown, and fails nothing."""
    reply = {"target": 1, "current": 0, "starting": 1, "currentError": "http://x: cannot be asked"}
    watch = Watch()
    for now_s in (0.0, 60.0):
        watch, verdict = judge(watch, Progress.from_reply(reply | {"reading_error": reply["currentError"]}), now_s)
        assert verdict is Verdict.WAIT
    for now_s in (60.0, 120.0):
        watch, verdict = judge(watch, Progress.from_reply(reply | {"reading_error": "another"}), now_s)
    assert verdict is Verdict.FAILED
