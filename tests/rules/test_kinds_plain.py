"""Each kind of this part against a plain loop over one instance's rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.kind import FOREVER_US, NEVER_US, NO, SILENT, UNKNOWN, YES, Columns, Scope
from rules.kinds.absent import Absent
from rules.kinds.expression import Expression
from rules.kinds.rate import Rate
from rules.kinds.stuck import Stuck
from rules.pace import paced

S = 1_000_000

ROWS = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 1, 2, 5, 30, 300]),
        st.sampled_from([0.0, 0.4, 1.0, 3.0, math.nan]),
        st.sampled_from([0.0, 1.0, 1.0, 1.0, math.nan]),
        st.sampled_from(["both", "both", "first", "second"]),
    ),
    max_size=40,
)


def scope(
    value: list[list[float]],
    time_us: list[list[int]],
    fresh: list[list[bool]] | None = None,
    **more: Any,
) -> Scope:
    n = len(value)
    m = len(value[0]) if n else 1
    plain: dict[str, Any] = {
        "heard_us": np.full(n, NEVER_US),
        "known_us": np.zeros(n, np.int64),
        "now_us": np.zeros(n, np.int64),
        "parameters": {},
        "seen_since_us": {},
    }
    return Scope(
        np.array(value, float).reshape(n, m),
        np.array(time_us, np.int64).reshape(n, m),
        np.ones((n, m), bool) if fresh is None else np.array(fresh, bool),
        **(plain | more),
    )


def _observed(kind: Any, rows: list[tuple[int, float, float, str]]) -> list[int]:
    """Verdicts of one instance among three, whose neighbours see nothing."""
    memory: Columns = kind.fresh_columns(3)
    at, value, time, words = 0, [math.nan, math.nan], [int(NEVER_US)] * 2, []
    width = len(kind.metrics)
    for step, first, second, which in rows:
        at += step * S
        fresh = [which != "second", which != "first"]
        value = [
            new if f else old for new, f, old in zip((first, second), fresh, value, strict=True)
        ]
        time = [at if f else old for f, old in zip(fresh, time, strict=True)]
        if any(fresh[:width]):
            seen = scope([value[:width]], [time[:width]], [fresh[:width]])
            words.append(int(kind.observe(memory, np.array([1]), seen)[0]))
    blank = kind.fresh_columns(1)
    for name, column in memory.items():
        np.testing.assert_array_equal(column[[0, 2]], np.repeat(blank[name], 2))
    return words


def _pace(pace: int, step: int) -> tuple[bool, int]:
    if pace == 0:
        return False, step
    return step > 10 * pace, min(step, 2 * pace)


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_rate_is_the_difference_of_consecutive_rows(
    rows: list[tuple[int, float, float, str]],
) -> None:
    expected, before, pace, gone = [], None, 0, 0
    for step, value, _, which in rows:
        gone += step
        if which == "second":
            continue
        word = UNKNOWN
        if before is not None:
            gap, pace = _pace(pace, gone * S)
            change = (value - before) / gone * 2
            if not gap and not math.isnan(change):
                word = YES if change > 1 or change < -2 else NO
        expected.append(int(word))
        before, gone = value, 0
    assert _observed(Rate("pressure", above=1, below=-2, over_s=2), rows) == expected


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_stuck_counts_from_the_first_row_of_the_same_value(
    rows: list[tuple[int, float, float, str]],
) -> None:
    expected, anchor, since, last, pace, at = [], math.nan, 0, None, 0, 0
    running = math.nan
    for step, value, run, which in rows:
        at += step
        running = running if which == "first" else run
        if running != 1.0:
            anchor = math.nan
            expected.append(int(UNKNOWN if math.isnan(running) else NO))
        elif which == "second":
            expected.append(int(SILENT))
        else:
            gap, pace = _pace(pace, (at - last) * S) if last is not None else (False, pace)
            if gap or not abs(value - anchor) <= 0.5:
                anchor, since = value, at
            last = at
            expected.append(int(YES if at - since >= 3 else NO))
    kind = Stuck("pressure", 3, 0.5, 'state.run == "running"')
    assert _observed(kind, rows) == expected


def test_stuck_and_rate_are_unknown_when_stale_and_else_let_the_last_word_stand() -> None:
    for kind in (Rate("pressure", above=1), Stuck("pressure", 3)):
        seen = scope([[math.nan], [1.0]], [[0], [0]])
        assert kind.judge(kind.fresh_columns(2), seen).tolist() == [UNKNOWN, SILENT]
        assert kind.due_us(kind.fresh_columns(2), seen).tolist() == [FOREVER_US] * 2


def test_a_missing_number_warns_nothing() -> None:
    for kind in (Rate("pressure", above=1), Stuck("pressure", 3), Expression("pressure > 1")):
        memory: Columns = kind.fresh_columns(1)
        for at, value in enumerate([math.nan, 1.0, math.nan, math.inf, 1.0]):
            kind.observe(memory, np.array([0]), scope([[value]], [[at * S]]))


def test_absent_counts_from_what_was_heard_or_else_from_when_it_was_known() -> None:
    kind = Absent(60)
    heard, known = np.array([NEVER_US, 50 * S, 10 * S]), np.array([5 * S, 0, 30 * S])
    for now, expected in ((65, [1, 0, 0]), (90, [1, 0, 1]), (110, [1, 1, 1])):
        seen = Scope(
            np.zeros((3, 0)),
            np.zeros((3, 0), np.int64),
            np.zeros((3, 0), bool),
            heard,
            known,
            np.full(3, now * S),
            {},
            {},
        )
        assert kind.judge({}, seen).tolist() == expected
        assert kind.due_us({}, seen).tolist() == [65 * S, 110 * S, 90 * S]
        assert kind.observe({}, np.arange(3), seen).tolist() == [SILENT] * 3
    assert kind.evidence({}, seen, 0) == {"silent_s": 105, "ever_heard": False}


def test_an_expression_answers_by_its_condition() -> None:
    kind = Expression("pressure < param.set_pressure - 50 kPa")
    limits = {"set_pressure": np.array([340.0, 340.0, np.nan])}
    seen = scope([[280.0], [math.nan], [1.0]], [[0], [0], [0]], parameters=limits)
    assert kind.judge({}, seen).tolist() == [YES, UNKNOWN, UNKNOWN]
    assert kind.evidence({}, seen, 0) == {"parameters": {"set_pressure": 340.0}}


def test_a_pace_follows_a_slower_device_after_a_few_rows() -> None:
    pace, gaps = np.array([0]), []
    for step in [1, 1, 60, 60, 60, 60, 60]:
        gap, pace = paced(pace, np.array([step]))
        gaps.append(bool(gap[0]))
    assert gaps == [False, False, True, True, True, False, False]


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: Absent(0), "longer than 0s"),
    (lambda: Rate("presure", above=1), "did you mean 'pressure'"),
    (lambda: Rate("state.run", above=1), "a state: it has no rate"),
    (lambda: Rate("pressure"), "above or below must be given"),
    (lambda: Rate("pressure", above=1, below=2), "below is greater than above"),
    (lambda: Rate("pressure", above=1, over_s=0), "over must be longer"),
    (lambda: Stuck("presure", 1), "did you mean 'pressure'"),
    (lambda: Stuck("pressure", 0), "after must be longer"),
    (lambda: Stuck("pressure", 1, -1.0), "must not be negative"),
    (lambda: Stuck("pressure", 1, math.nan), "must not be negative"),
    (lambda: Stuck("pressure", 1, 0.0, "pressure >"), "not understood"),
    (lambda: Expression("pressure"), "compared"),
]


def test_parameters_that_make_no_sense_are_refused() -> None:
    for make, message in REFUSED:
        with pytest.raises(ValueError, match=message):
            make()
