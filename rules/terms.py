"""What a condition calculates with: numbers with units, states, and truths."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce

import numpy as np

from ingest.metrics import Metric
from ingest.readings import Mask, Numbers
from rules.units import KELVIN, NONE, ONE, UNITS, Unit, ratio

Values = Mapping[str, Numbers]
Numeric = Callable[[Values], Numbers | float]
Masks = Callable[[Values], tuple[Mask, Mask]]


def hint(word: str, words: Sequence[str]) -> str:
    """The end of a message: the nearest valid word, or all of them where none is near."""
    by_lower = {one.lower(): one for one in words}
    close = difflib.get_close_matches(word.lower(), by_lower, 1)
    if close:
        return f"; did you mean {by_lower[close[0]]!r}?"
    return f"; there are: {', '.join(words)}"


class ExpressionError(ValueError):
    """A condition that cannot be used: what, and at which column (from 1)."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(f"column {column}: {message}")
        self.column = column
        self.message = message


@dataclass(frozen=True, slots=True)
class Number:
    """`unit` None: a bare number, which takes the unit of what it meets; it is constant then."""

    unit: Unit | None
    run: Numeric
    constant: Fraction | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A state of the catalogue, as the numbers of its words."""

    metric: Metric
    run: Numeric


@dataclass(frozen=True, slots=True)
class Word:
    """A word in quotes."""

    text: str


@dataclass(frozen=True, slots=True)
class Truth:
    """Two masks: where it holds, and where it does not; where neither, it is not known."""

    run: Masks


Part = Number | State | Word | Truth


def problem_at(node: ast.expr, message: str) -> ExpressionError:
    return ExpressionError(max(node.col_offset, 1), message)


def column(word: str) -> Numeric:
    return lambda values: values[word]


def fixed(value: Fraction, in_unit: Unit | None) -> Number:
    try:
        number = float(value)
    except OverflowError:
        number = float("inf") if value > 0 else float("-inf")
    return Number(in_unit, lambda _: number, value)


def _scaled(number: Number, by: Fraction, in_unit: Unit) -> Number:
    if number.constant is not None:
        return fixed(number.constant * by, in_unit)
    if by == 1:
        return Number(in_unit, number.run)
    run, factor = number.run, float(by)
    return Number(in_unit, lambda values: run(values) * factor)


def _aligned(node: ast.expr, numbers: Sequence[Number]) -> list[Number]:
    """All in the unit of the first that has one; a bare number takes it."""
    target = next((number.unit for number in numbers if number.unit is not None), None)
    return list(numbers) if target is None else [_in_unit(node, one, target) for one in numbers]


def _in_unit(node: ast.expr, number: Number, target: Unit) -> Number:
    if number.unit is None:
        return _scaled(number, Fraction(1), target)
    if number.unit.dimension != target.dimension:
        raise _different(node, target, number.unit)
    if number.unit.absolute != target.absolute:
        raise problem_at(node, "Cel is a temperature and K a difference: they cannot be compared")
    return _scaled(number, ratio(number.unit, target), target)


def _different(node: ast.expr, one: Unit, other: Unit) -> ExpressionError:
    at = node.right if isinstance(node, ast.BinOp) else node
    return problem_at(at, f"{one.code} and {other.code} are different things")


def negated(node: ast.expr, number: Number) -> Number:
    if number.constant is not None:
        return fixed(-number.constant, number.unit)
    _refuse_absolute(node, number)
    run = number.run
    return Number(number.unit, lambda values: -run(values))


def _refuse_absolute(node: ast.expr, *numbers: Number) -> None:
    if any(number.unit is not None and number.unit.absolute for number in numbers):
        raise problem_at(node, "with Cel only differences can be taken: write limit - 7 K")


def arithmetic(node: ast.expr, op: ast.operator, left: Number, right: Number) -> Number:
    if isinstance(op, ast.Mult | ast.Div):
        return _product(node, left, right, divide=isinstance(op, ast.Div))
    return _sum(node, left, right, minus=isinstance(op, ast.Sub))


def _sum(node: ast.expr, left: Number, right: Number, *, minus: bool) -> Number:
    left, right, result = _summands(node, left, right, minus=minus)
    if left.constant is not None and right.constant is not None:
        return fixed(left.constant + (-right.constant if minus else right.constant), result)
    one, other = left.run, right.run
    if minus:
        return Number(result, lambda values: one(values) - other(values))
    return Number(result, lambda values: one(values) + other(values))


def _summands(
    node: ast.expr, left: Number, right: Number, *, minus: bool
) -> tuple[Number, Number, Unit | None]:
    """Both in one unit, and the unit of the sum: Cel - Cel = K, Cel ± K = Cel."""
    at, on = (number.unit is not None and number.unit.absolute for number in (left, right))
    if left.unit and right.unit and left.unit.dimension != right.unit.dimension:
        raise _different(node, left.unit, right.unit)
    if not at and not on:
        left, right = _aligned(node, [left, right])
        return left, right, left.unit
    if at and on:
        if not minus:
            raise problem_at(node, "two temperatures cannot be added: add a difference in K")
        return left, right, KELVIN
    if minus and on:
        raise problem_at(node, "a temperature cannot be taken from a difference")
    change, point = (right, left) if at else (left, right)
    change = _in_unit(node, change, KELVIN)
    return (point, change, point.unit) if at else (change, point, point.unit)


def _product(node: ast.expr, left: Number, right: Number, *, divide: bool) -> Number:
    _refuse_absolute(node, left, right)
    if divide and right.constant == 0:
        raise problem_at(node, "division by zero")
    if left.constant is not None and right.constant is not None:
        return _constant_product(left, right, divide=divide)
    one, other = left.run, right.run
    in_unit = _product_unit(left.unit, right.unit, divide=divide)
    if divide:
        return _plain(Number(in_unit, lambda values: _quotient(one(values), other(values))))
    return _plain(Number(in_unit, lambda values: one(values) * other(values)))


def _constant_product(left: Number, right: Number, *, divide: bool) -> Number:
    one, other = left.constant or Fraction(0), right.constant or Fraction(0)
    both_bare = left.unit is None and right.unit is None
    in_unit = None if both_bare else _product_unit(left.unit, right.unit, divide=divide)
    return _plain(fixed(one / other if divide else one * other, in_unit))


def _product_unit(left: Unit | None, right: Unit | None, *, divide: bool) -> Unit:
    """A bare factor leaves the other's unit as it is."""
    if right is None:
        return left or ONE
    if left is None:
        return ONE.over(right) if divide else right
    return left.over(right) if divide else left.times(right)


def _plain(number: Number) -> Number:
    """A ratio such as kPa/MPa becomes a plain number; a percentage stays one."""
    if number.unit is None or number.unit.dimension != NONE or number.unit.code in UNITS:
        return number
    return _scaled(number, number.unit.factor, ONE)


def _quotient(one: Numbers | float, other: Numbers | float) -> Numbers:
    # x / 0 would be infinite, and so be above every limit: it is not known
    return np.divide(one, np.where(np.equal(other, 0.0), np.nan, other))


def _absolute(node: ast.Call, parts: list[Number]) -> Number:
    if len(parts) != 1:
        raise problem_at(node, "abs takes one number")
    _refuse_absolute(node, *parts)
    (number,) = parts
    if number.constant is not None:
        return fixed(abs(number.constant), number.unit)
    run = number.run
    return Number(number.unit, lambda values: np.abs(run(values)))


def _extreme(name: str, pick: np.ufunc) -> Callable[[ast.Call, list[Number]], Number]:
    def made(node: ast.Call, parts: list[Number]) -> Number:
        if len(parts) < 2:
            raise problem_at(node, f"{name} takes at least two numbers")
        aligned = _aligned(node, parts)
        if all(number.constant is not None for number in aligned):
            raise problem_at(node, f"{name} of numbers alone: write the result")
        runs = [number.run for number in aligned]
        return Number(aligned[0].unit, lambda values: reduce(pick, [run(values) for run in runs]))

    return made


FUNCTIONS: Mapping[str, Callable[[ast.Call, list[Number]], Number]] = {
    "abs": _absolute,
    "min": _extreme("min", np.minimum),
    "max": _extreme("max", np.maximum),
}

_Comparison = Callable[[Numbers | float, Numbers | float], Mask]
_COMPARISONS: Mapping[type[ast.cmpop], tuple[_Comparison, _Comparison]] = {
    ast.Lt: (np.less, np.greater_equal),
    ast.LtE: (np.less_equal, np.greater),
    ast.Gt: (np.greater, np.less_equal),
    ast.GtE: (np.greater_equal, np.less),
    ast.Eq: (np.equal, lambda one, other: np.less(one, other) | np.greater(one, other)),
    ast.NotEq: (lambda one, other: np.less(one, other) | np.greater(one, other), np.equal),
}
"""When it holds and when it does not; with a NaN on either side neither does."""


def compared(op: ast.cmpop, at: ast.expr, left: Part, right_at: ast.expr, right: Part) -> Truth:
    if type(op) not in _COMPARISONS:
        raise problem_at(right_at, "compare with < <= > >= == !=")
    if isinstance(left, Truth) or isinstance(right, Truth):
        raise problem_at(at, "a comparison cannot be compared; join them with and, or")
    if isinstance(left, Number) and isinstance(right, Number):
        if left.constant is not None and right.constant is not None:
            raise problem_at(at, "two fixed numbers are compared")
        one, other = (number.run for number in _aligned(right_at, [left, right]))
    else:
        one, other = _with_word(op, at, left, right_at, right)
    holds, fails = _COMPARISONS[type(op)]
    return Truth(lambda values: _masks(holds, fails, one(values), other(values)))


def _with_word(
    op: ast.cmpop, at: ast.expr, left: Part, right_at: ast.expr, right: Part
) -> tuple[Numeric, Numeric]:
    state, word, word_at = right, left, at
    if isinstance(left, State):
        state, word, word_at = left, right, right_at
    if not isinstance(state, State):
        word_at = at if isinstance(left, Word) else right_at
        raise problem_at(word_at, "only a state is compared with a word in quotes")
    if not isinstance(word, Word) or not isinstance(op, ast.Eq | ast.NotEq):
        raise problem_at(at, f"{state.metric.word} is a state, {state_help(state.metric)}")
    if word.text not in state.metric.words:
        near = hint(word.text, state.metric.words)
        raise problem_at(word_at, f"{state.metric.word} is never {word.text!r}{near}")
    number = float(state.metric.words.index(word.text))
    return state.run, lambda _: number


def state_help(metric: Metric) -> str:
    words = ", ".join(metric.words)
    return f"compare it by == or != with one of the words in quotes: {words}"


def _masks(
    holds: _Comparison, fails: _Comparison, one: Numbers | float, other: Numbers | float
) -> tuple[Mask, Mask]:
    return holds(one, other), fails(one, other)


def both(left: Truth, right: Truth) -> Truth:
    def run(values: Values) -> tuple[Mask, Mask]:
        (yes, no), (also_yes, also_no) = left.run(values), right.run(values)
        return yes & also_yes, no | also_no

    return Truth(run)


def either(left: Truth, right: Truth) -> Truth:
    return negation(both(negation(left), negation(right)))


def negation(truth: Truth) -> Truth:
    def run(values: Values) -> tuple[Mask, Mask]:
        yes, no = truth.run(values)
        return no, yes

    return Truth(run)
