from __future__ import annotations

import math
import time
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.metrics import CATALOGUE
from rules.expression import DEPTH_MAX, LENGTH_MAX, Condition, compile_condition
from rules.kind import NO, UNKNOWN, YES
from rules.terms import ExpressionError

NAN = math.nan


def answers(text: str, **columns: list[float] | float) -> list[int]:
    """The verdicts of a condition; `power_active` stands for `power.active`, `param_x` likewise."""
    named = {_word(name): np.atleast_1d(np.array(c, float)) for name, c in columns.items()}
    return [int(verdict) for verdict in compile_condition(text).evaluate(named)]


def _word(name: str) -> str:
    if name.startswith("param_"):
        return f"param.{name.removeprefix('param_')}"
    return next(word for word in CATALOGUE if word.replace(".", "_") == name)


def refusal(text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        compile_condition(text)
    return caught.value


def test_a_condition_knows_what_it_needs_in_order_of_appearance() -> None:
    condition = compile_condition("pressure < param.set_pressure - 50 kPa and power.active > 0")
    assert condition.metrics == ("pressure", "power.active")
    assert condition.parameters == ("set_pressure",)


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("pressure < 340 kPa", {"pressure": [339, 340, 341]}, [1, 0, 0]),
        ("pressure < 0.34 MPa", {"pressure": [339, 340, 341]}, [1, 0, 0]),
        ("pressure < 340", {"pressure": [339, 340, NAN]}, [1, 0, -1]),
        ("340 kPa > pressure", {"pressure": [339, 340]}, [1, 0]),
        ("198 V <= voltage <= 235.4 V", {"voltage": [197, 198, 220, 236, NAN]}, [0, 1, 1, 0, -1]),
        ("not 198 V <= voltage", {"voltage": [197, 198, NAN]}, [1, 0, -1]),
        ("temperature > 65", {"temperature": [65, 66]}, [0, 1]),
        ("temperature > 65 Cel - 5 K", {"temperature": [60, 61]}, [0, 1]),
        ("temperature < -10 Cel", {"temperature": [-11, -9]}, [1, 0]),
        ("current > 1.1 * param.rated_current", {"current": 13, "param_rated_current": 11}, [1]),
        ("flow > 90 % * param.rated_flow", {"flow": 19, "param_rated_flow": 20}, [1]),
        ("flow > 300 L/min", {"flow": [17.9, 18.1]}, [0, 1]),
        ("power.active / current > 220 V", {"power_active": [230, 200], "current": 1}, [1, 0]),
        ("power.active / current > 0.2 kV", {"power_active": [230, 190], "current": 1}, [1, 0]),
        ("pressure / param.set_pressure < 0.5", {"pressure": 1, "param_set_pressure": 3}, [1]),
        ("abs(power_factor) < 0.85", {"power_factor": [-0.8, 0.9, -0.9]}, [1, 0, 0]),
        ("max(pressure, 1 bar) > 100 kPa", {"pressure": [99, 101, NAN]}, [0, 1, -1]),
        ("min(pressure, 1 bar, 2 bar) < 50", {"pressure": [49, 101]}, [1, 0]),
        ("humidity > 80", {"humidity": [79, 81]}, [0, 1]),
        ("humidity / 100 > 0.8", {"humidity": [79, 81]}, [0, 1]),
        ("humidity > 0.8 * 100 %", {"humidity": [79, 81]}, [0, 1]),
        ("runtime > 5 min", {"runtime": [0.08, 0.09]}, [0, 1]),
        ("signal.rssi < -110 {dBm}", {"signal_rssi": [-111, -109]}, [1, 0]),
        ("speed < 20 /s", {"speed": [1_199, 1_200]}, [1, 0]),
        ('state.relay == "closed"', {"state_relay": [0, 1, NAN]}, [0, 1, -1]),
        ("'auto' != state.selector", {"state_selector": [0, 1, 2]}, [1, 1, 0]),
        ("-pressure < -3 kPa + 1", {"pressure": [1, 3]}, [0, 1]),
        ("pressure == 3", {"pressure": [3, 4, NAN]}, [1, 0, -1]),
        ("pressure != 3", {"pressure": [3, 4, NAN]}, [0, 1, -1]),
    ],
)
def test_what_a_condition_answers(
    text: str, columns: Mapping[str, list[float] | float], expected: list[int]
) -> None:
    assert answers(text, **columns) == expected


def test_unknown_is_three_valued() -> None:
    for left, right, both, either in [
        (YES, UNKNOWN, UNKNOWN, YES),
        (NO, UNKNOWN, NO, UNKNOWN),
        (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN),
        (YES, NO, NO, YES),
    ]:
        columns = {"pressure": _value(left), "flow": _value(right)}
        assert answers("pressure > 1 and flow > 1", **columns) == [both]
        assert answers("flow > 1 and pressure > 1", **columns) == [both]
        assert answers("pressure > 1 or flow > 1", **columns) == [either]
    assert answers("not pressure > 1", pressure=NAN) == [UNKNOWN]


def _value(verdict: np.int8) -> float:
    return {1: 2.0, 0: 0.0, -1: NAN}[int(verdict)]


def test_dividing_by_zero_is_unknown_and_warns_nothing() -> None:
    columns: dict[str, list[float] | float] = {"power_active": [5, 0], "current": 0}
    assert answers("power.active / current > 220 V", **columns) == [UNKNOWN, UNKNOWN]
    assert answers("not power.active / current > 220 V", **columns) == [UNKNOWN, UNKNOWN]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "an empty condition"),
        ("   ", 1, "an empty condition"),
        ("presure < 3", 1, "unknown name 'presure'; did you mean 'pressure'?"),
        ("pressure < 3 Kpa", 14, "no unit 'Kpa'; did you mean 'kPa'?"),
        ("pressure < 65 Cel", 12, "kPa and Cel are different things"),
        ("pressure + flow > 3", 12, "kPa and m3/h are different things"),
        ("pressure > param.rated_curent", 12, "did you mean 'rated_current'?"),
        ("temperature > 338 K", 15, "Cel is a temperature and K a difference"),
        ("temperature * 2 > 3", 1, "only differences can be taken"),
        ("temperature + param.terminal_limit > 3", 1, "two temperatures cannot be added"),
        ("5 K - temperature > 3", 1, "a temperature cannot be taken from a difference"),
        ("pressure", 1, "a condition says what is compared"),
        ("1 < 2", 1, "two fixed numbers are compared"),
        ("param.set_pressure < 2", 1, "names at least one metric"),
        ("pressure < 3 and", 17, "not understood from here on"),
        ("pressure = 3", 10, "write '=='"),
        ("pressure > 3 && flow > 2", 14, "write 'and'"),
        ("pressure > 3 | flow > 2", 14, "write 'or'"),
        ("pressure ≥ 3", 10, "write '>='"),
        ("pressure # 3", 10, "'#' has no place in a condition"),
        ("pressure < 3)", 13, "a ) without its ("),
        ("pressure < 3) or (flow < 2", 13, "a ) without its ("),
        ("state.relay > 3", 1, "one of the words in quotes: open, closed"),
        ("state.relay == 'close'", 16, "did you mean 'closed'?"),
        ("state.relay < 'closed'", 1, "compare it by == or !="),
        ("state.relay == state.door", 1, "one of the words in quotes"),
        ("pressure > 'high'", 12, "only a state is compared with a word"),
        ("state.relay + 1 > 2", 1, "state.relay is a state"),
        ("(pressure > 3) > 2", 2, "a comparison cannot be compared"),
        ("(pressure > 3) + 2 > 2", 2, "a number is wanted here"),
        ("pressure and flow > 2", 1, "a comparison is wanted here"),
        ("pressure ** 2 > 3", 1, "an operator other than"),
        ("pressure % 2 > 3", 10, "'%' has no place"),
        ("pressure > 1e13", 12, "at most 1e+12"),
        ("pressure > 1e999", 13, "no unit 'e999'"),
        ("pressure / 0 > 3", 1, "division by zero"),
        ("pressure > 3 and True", 18, "True has no place"),
        ("abs(pressure, 3) < 3", 1, "abs takes one number"),
        ("max(pressure) < 3", 1, "at least two numbers"),
        ("max(1, 2) < pressure", 1, "write the result"),
        ("sqrt(pressure) < 3", 1, "a call of anything but abs, min, max"),
        ("max(*pressure) < 3", 5, "has no place in a condition"),
        ("pressure.real < 3", 1, "unknown name 'pressure.real'"),
        ("(pressure).real < 3", 11, "a number has at most"),
        ("u'closed' == state.relay", 1, "has no place in a condition"),
        ("state.relay == 'clo' 'sed'", 16, "has no place in a condition"),
        ("pressure in (1, 2)", 13, "a list has no place"),
        ("pressure is flow", 13, "compare with <"),
        ("pressure if flow > 2 else 4", 22, "no unit 'else'"),
        ("pressure > 2 if (flow > 2) else flow", 1, "if … else has no place"),
    ],
)
def test_a_refusal_names_place_and_reason(text: str, column: int, message: str) -> None:
    error = refusal(text)
    assert message in error.message
    assert error.column == column


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true') == 0",
        "().__class__.__bases__[0] == 1",
        "lambda: pressure > 3",
        "[pressure for pressure in flow]",
        "(pressure for pressure in flow)",
        "max(pressure for flow in speed) > 3",
        "'a' * 1000000000 == state.relay",
        "f'{pressure}' == state.relay",
        "pressure := 3",
        "(yield pressure) > 3",
        "(await pressure) > 3",
        "9" * 30 + " < pressure",
        "1_000 < pressure",
        "0x10 < pressure",
        "3j < pressure",
        "... < pressure",
        "pressure @ flow > 3",
        "pressure is flow",
        "pressure\x00 > 3",
        "pressure > 3\n; flow > 2",
    ],
)
def test_whatever_is_no_condition_is_refused(text: str) -> None:
    refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "pressure < 3" + " " * LENGTH_MAX,
        "(" * (DEPTH_MAX + 1) + "pressure" + ")" * (DEPTH_MAX + 1) + " < 3",
        "not " * (DEPTH_MAX + 1) + "pressure < 3",
        "-" * 1_900 + "pressure < 3",
        "pressure < " + "-".join(["flow"] * 300),
        "(" * 1_999,
        "max(" * 300 + "pressure" + ")" * 300 + " < 3",
    ],
)
def test_length_and_depth_are_bounded(text: str) -> None:
    assert refusal(text)


def test_units_may_be_written_in_several_lines() -> None:
    assert answers("\n  pressure\n  < 340\n  kPa", pressure=[339, 341]) == [1, 0]


WORDS = """
pressure flow temperature state.relay param.set_pressure power.active and or not abs( max( ( )
, + - * / < <= > >= == != 3 0.3 1e5 .5 kPa MPa Cel K % {dBm} /s m3/h 'closed' "open" if else for
in is lambda : ** // . [ ] { } ' " __class__ True None 0x 1e99 ; # \\ é ！
"""
PIECES = st.sampled_from([*WORDS.split(), "\n"])


@settings(max_examples=600, deadline=None)
@given(st.one_of(st.lists(PIECES, max_size=60).map(" ".join), st.text(max_size=80)))
@example("pressure <" + "(" * 40)
@example("pressure < ((((((((((((((((((((((((((((((((((((((((1 1))))))))")
@example("0" * 19 + "1 < pressure")
@example("#")
def test_no_text_does_worse_than_an_expression_error_and_none_takes_long(text: str) -> None:
    began = time.perf_counter()
    condition = _compiled_or_refused(text)
    if condition is not None:
        columns = {word: np.array([1.0, NAN, -1e12]) for word in condition.metrics}
        columns |= {f"param.{name}": np.array([1.0, NAN, 0.0]) for name in condition.parameters}
        verdicts = condition.evaluate(columns)
        assert verdicts.dtype == np.int8
        assert set(verdicts.tolist()) <= {YES, NO, UNKNOWN}
    assert time.perf_counter() - began < 5  # a text that can stop the service is what is meant


def _compiled_or_refused(text: str) -> Condition | None:
    try:
        return compile_condition(text)
    except ExpressionError as error:
        if not 1 <= error.column <= len(text) + 1:
            raise
        return None


Row = dict[str, float]
ATOMS = st.tuples(
    st.sampled_from(["pressure", "flow"]), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.integers(-2, 2),
)  # fmt: skip
TREES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or"]), inner, inner)
    ),
    max_leaves=8,
)
VALUES = st.one_of(st.just(NAN), st.integers(-3, 3).map(float))


def _text(tree: tuple[object, ...]) -> str:
    if tree[0] == "not":
        return f"not ({_text(tree[1])})"  # type: ignore[arg-type]
    if tree[0] in ("and", "or"):
        return f"({_text(tree[1])}) {tree[0]} ({_text(tree[2])})"  # type: ignore[arg-type]
    return f"{tree[0]} {tree[1]} {tree[2]}"


def _slow(tree: tuple[object, ...], row: Row) -> bool | None:
    """The obvious way: None is unknown."""
    if tree[0] == "not":
        inner = _slow(tree[1], row)  # type: ignore[arg-type]
        return None if inner is None else not inner
    if tree[0] in ("and", "or"):
        sides = [_slow(tree[1], row), _slow(tree[2], row)]  # type: ignore[arg-type]
        decisive = tree[0] == "or"
        if decisive in sides:
            return decisive
        return None if None in sides else not decisive
    value, limit = row[str(tree[0])], float(str(tree[2]))
    if math.isnan(value):
        return None
    return {
        "<": value < limit,
        "<=": value <= limit,
        ">": value > limit,
        ">=": value >= limit,
        "==": value == limit,
        "!=": value != limit,
    }[str(tree[1])]


@settings(max_examples=300, deadline=None)
@given(TREES, st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6))
def test_columns_answer_as_row_by_row(
    tree: tuple[object, ...], rows: list[tuple[float, float]]
) -> None:
    columns = {
        "pressure": np.array([pressure for pressure, _ in rows]),
        "flow": np.array([flow for _, flow in rows]),
    }
    got = compile_condition(_text(tree)).evaluate(columns).tolist()
    slow = [_slow(tree, {"pressure": pressure, "flow": flow}) for pressure, flow in rows]
    assert got == [{True: 1, False: 0, None: -1}[answer] for answer in slow]
