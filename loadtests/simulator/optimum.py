"""The fewest instance-seconds with which anybody could have done it, knowing every arrival beforehand: a lower bound.

A linear program on a grid of time, every part of which asks for no more than a real run must do:

* Instances are divisible, and n[k] is their mean over step k. Whoever becomes ready has been paid for since the launch,
  so each rise of n costs a launch time. Means rise no more than the number itself does.
* Work is divisible. W(t), what was done of the judged requests, grows by at most slots × n. It is never more than what
  those that came could have had done, and never less than what must be done of those that began in time: of one that
  came at a, t − a − limit seconds, up to its service time.
* The requests that may miss the limit are those with the longest service times, and none of their work is done.

In the judged part, instances that were launched before it cost only from its beginning. Solved by HiGHS (highspy).
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from loadtests.simulator.outcome import Outcome
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.trace import Trace

STEPS_MAX: Final = 3000  # a finer grid gives a higher bound and takes longer
STEP_S_MIN: Final = 0.25
SLACK: Final = 1e-6  # what the solver may be off by, taken off the bound

Floats = npt.NDArray[np.float64]


class NoSolver(Exception):
    """highspy is not installed; the extra 'loadtests' brings it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What the linear program is made of. The edges of the steps are seconds since the judged part began."""

    edges_s: Floats
    could: Floats  # seconds of work that could be done by each edge
    must: Floats  # seconds of work that must be done by each edge if all are within the limit
    forgiven: float  # seconds of work that need not be done
    rise_costs_s: Floats  # of one instance more in each step
    slots: int
    closed_s: float  # nobody can be ready before


def with_optimum(found: Outcome, trace: Trace, scenario: Scenario) -> Outcome:
    """The outcome with the least that attains as much as it did. Without a solver, as it is."""
    if find_spec("highspy") is None:
        return found
    return replace(found, optimum_seconds=least_instance_seconds(trace, scenario, found.attainment))


def least_instance_seconds(trace: Trace, scenario: Scenario, attainment: float) -> float:
    """No policy that keeps this share of the judged requests within the limit gets by with fewer.

    Raises:
        NoSolver: highspy is not installed.
    """
    solved = _solve(problem_of(trace, scenario, attainment))
    return max(0.0, solved * (1.0 - SLACK) - SLACK)


def problem_of(trace: Trace, scenario: Scenario, attainment: float) -> Problem:
    begin_s, end_s = scenario.history_s, trace.duration_s
    judged = [i for i, at_s in enumerate(trace.arrivals_s) if begin_s <= at_s]
    arrived = np.array([trace.arrivals_s[i] - begin_s for i in judged])
    service = np.array([trace.service_of(i, scenario.service_s) for i in judged])
    steps = max(1, min(STEPS_MAX, math.ceil((end_s - begin_s) / STEP_S_MIN)))
    edges = np.linspace(0.0, end_s - begin_s, steps + 1)
    missing = math.floor((1.0 - attainment) * len(judged) + 1e-9)
    launch_s = scenario.launch_s
    # An instance that becomes ready in a step raises the mean of that step and of the next: at the price of the first.
    before = np.concatenate([[0.0], edges[:-2]]) if steps > 1 else np.zeros(1)
    rises = np.full(steps, launch_s) if begin_s == 0.0 else np.minimum(launch_s, before)
    return Problem(
        edges_s=edges,
        could=_ramps(arrived, service, edges),
        must=_ramps(arrived + scenario.wait_limit_s, service, edges),
        forgiven=float(np.sort(service)[::-1][:missing].sum()),
        rise_costs_s=rises,
        slots=scenario.slots,
        closed_s=launch_s if begin_s == 0.0 else 0.0,
    )


def _ramps(from_s: Floats, length_s: Floats, at_s: Floats) -> Floats:
    """At each time, the sum of what has passed of each [from, from + length)."""
    return _since(from_s, at_s) - _since(from_s + length_s, at_s)


def _since(moments_s: Floats, at_s: Floats) -> Floats:
    """At each time, the sum of the time since each moment that has passed."""
    ordered = np.sort(moments_s)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    passed = np.searchsorted(ordered, at_s, side="right")
    since: Floats = passed * at_s - sums[passed]
    return since


class _Rows:
    """Inequalities, row by row, as the solver takes them."""

    def __init__(self) -> None:
        self.starts, self.columns, self.values = [0], list[int](), list[float]()
        self.lower, self.upper = list[float](), list[float]()

    def add(self, lower: float, upper: float, *terms: tuple[int, float]) -> None:
        for column, value in terms:
            self.columns.append(column)
            self.values.append(value)
        self.starts.append(len(self.columns))
        self.lower.append(lower)
        self.upper.append(upper)


def _solve(problem: Problem) -> float:
    """Columns, by step: instances n, rises u, work done by its end W, work forgiven by its end Z."""
    steps = len(problem.edges_s) - 1
    length = np.diff(problem.edges_s)
    n, u, w, z = (range(part * steps, (part + 1) * steps) for part in range(4))
    rows = _Rows()
    for k in range(steps):
        due = problem.must[k + 1] - problem.must[k]
        first = k == 0
        rows.add(-math.inf, 0.0, (n[k], 1.0), (u[k], -1.0), *(() if first else ((n[k - 1], -1.0),)))
        grows = ((w[k], 1.0), (n[k], -problem.slots * float(length[k])))
        rows.add(-math.inf, 0.0, *grows, *(() if first else ((w[k - 1], -1.0),)))
        rows.add(float(problem.must[k + 1]), math.inf, (w[k], 1.0), (z[k], 1.0))
        rows.add(0.0, max(0.0, float(due)), (z[k], 1.0), *(() if first else ((z[k - 1], -1.0),)))
    most = np.full(4 * steps, math.inf)
    most[w.start : w.stop] = problem.could[1:]
    most[z.start : z.stop] = problem.forgiven
    open_s = problem.edges_s[1:] - problem.closed_s  # of each step, what is left of it once somebody can be ready
    most[n.start : n.stop][open_s <= 0.0] = 0.0
    costs = np.concatenate([length, problem.rise_costs_s, np.zeros(2 * steps)])
    return _minimum(costs, most, rows)


def _minimum(costs: Floats, most: Floats, rows: _Rows) -> float:
    try:
        highspy: Any = importlib.import_module("highspy")  # which has types for half of itself
    except ImportError:
        raise NoSolver("highspy is not installed; the extra 'loadtests' brings it") from None
    program: Any = highspy.HighsLp()
    program.num_col_, program.num_row_ = len(costs), len(rows.lower)
    program.col_cost_, program.col_lower_, program.col_upper_ = costs, np.zeros(len(costs)), most
    program.row_lower_, program.row_upper_ = np.array(rows.lower), np.array(rows.upper)
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_ = np.array(rows.starts)
    program.a_matrix_.index_ = np.array(rows.columns)
    program.a_matrix_.value_ = np.array(rows.values)
    solver: Any = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.passModel(program)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise ValueError(f"the optimum was not found: {solver.modelStatusToString(solver.getModelStatus())}")
    return float(solver.getInfo().objective_function_value)
