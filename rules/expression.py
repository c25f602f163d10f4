"""The condition language: an allow-listed Python syntax tree, compiled to numpy."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, lru_cache, reduce
from typing import NoReturn, cast

import numpy as np

from ingest.metrics import CATALOGUE
from ingest.registry import device_type
from ingest.shelf import shelf_words
from rules.kind import UNKNOWN, YES, Verdicts
from rules.terms import (
    FUNCTIONS,
    ExpressionError,
    Masks,
    Number,
    Part,
    State,
    Truth,
    Values,
    Word,
    arithmetic,
    both,
    column,
    compared,
    either,
    fixed,
    hint,
    negated,
    negation,
    problem_at,
    state_help,
)
from rules.units import UNITS, unit

LENGTH_MAX = 2_000
DEPTH_MAX = 40
NUMBER_MAX = 1e12  # the greatest bound of the metric catalogue


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold, over the columns of `metrics` and `param.NAME` of `parameters`."""

    text: str
    metrics: tuple[str, ...]
    parameters: tuple[str, ...]
    _truth: Masks = field(repr=False, compare=False)

    def evaluate(self, values: Values) -> Verdicts:
        """(n,) verdicts from (n,) columns: UNKNOWN where a NaN leaves the answer open (three-valued
        logic: `false and unknown` is NO). Dividing by zero gives an unknown number."""
        with np.errstate(all="ignore"):
            yes, no = self._truth(values)
        known = np.where(yes, YES, np.int8(0))
        return cast(Verdicts, np.where(yes | no, known, UNKNOWN))


_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,2})?(?![\d.]))"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
    r"|(?P<text>\"[A-Za-z0-9_ -]*\"|'[A-Za-z0-9_ -]*')"
    r"|(?P<sign>[<>=!]=|[-+*/(),<>])",
    re.ASCII,
)
_UNIT = re.compile(
    r"\s*(?P<unit>"
    + "|".join(re.escape(code) for code in sorted(UNITS, key=len, reverse=True) if code != "1")
    + r")(?![A-Za-z0-9_.({\[])",
    re.ASCII,
)
_WORD_AFTER = re.compile(r"\s*(?P<word>[A-Za-z_{\[][A-Za-z0-9_{}\[\]]*)", re.ASCII)
_KEYWORDS = {"and", "or", "not", "if", "in", "is"}
_INSTEAD = {"=": "==", "&": "and", "|": "or", "!": "not", "≥": ">=", "≤": "<=", "≠": "!="}


@lru_cache(maxsize=4_096)
def compile_condition(text: str) -> Condition:
    """Raises ExpressionError, and nothing else, for a text that is no condition."""
    if len(text) > LENGTH_MAX:
        raise ExpressionError(LENGTH_MAX + 1, f"longer than {LENGTH_MAX:,} characters")
    compiler = _Compiler(*_tokens(text))
    truth = compiler.part(_tree(compiler.plain), 0)
    if not isinstance(truth, Truth):
        raise ExpressionError(1, "a condition says what is compared, as in pressure < 340 kPa")
    if not compiler.metrics:
        raise ExpressionError(1, "a condition names at least one metric")
    return Condition(text, tuple(compiler.metrics), tuple(compiler.parameters), truth.run)


@cache
def parameter_units() -> Mapping[str, str]:
    """The unit of each parameter of all device types; a name has one unit, whatever the type."""
    return {
        name: parameter.unit
        for word in shelf_words("ingest.devices")
        for name, parameter in device_type(word).parameters.items()
    }


def _tokens(text: str) -> tuple[str, dict[int, tuple[str, str]]]:
    """The text with its units blanked out, and by column (from 0) the numbers' units and the
    words in quotes: so Python reads the rest, and the columns stay right."""
    plain, known, at, depth = [], {}, 0, 0
    while at < len(text):
        match = _TOKEN.match(text, at) or _no_token(text, at)
        depth += {"(": 1, ")": -1}.get(match.group(), 0)
        if not 0 <= depth <= DEPTH_MAX:
            problem = "a ) without its (" if depth < 0 else f"nested deeper than {DEPTH_MAX}"
            raise ExpressionError(at + 1, problem)
        plain.append(" " if match.group("space") else match.group())
        if match.group("space"):
            plain[-1] *= len(match.group())
        end = match.end()
        if match.group("text"):
            known[at] = (match.group(), "")
        if match.group("number"):
            code, end = _unit_after(text, end)
            known[at] = (match.group(), code)
            plain.append(" " * (end - match.end()))
        at = end
    if not "".join(plain).strip():
        raise ExpressionError(1, "an empty condition")
    return "".join(plain), known


def _no_token(text: str, at: int) -> NoReturn:
    sign = text[at]
    if sign in "\"'":
        problem = "a word in quotes has letters, digits, _ and - only, and ends in the same quote"
    elif sign in _INSTEAD:
        problem = f"{sign!r} is not known here; write {_INSTEAD[sign]!r}"
    elif sign.isdecimal() or sign == ".":
        problem = "a number has at most 20 digits and an exponent of two, as 1.5 or 2e-3"
    else:
        problem = f"{sign!r} has no place in a condition"
    raise ExpressionError(at + 1, problem)


def _unit_after(text: str, at: int) -> tuple[str, int]:
    """The UCUM code that follows a number, or "", and where the text goes on."""
    if match := _UNIT.match(text, at):
        return match.group("unit"), match.end()
    match = _WORD_AFTER.match(text, at)
    if match and match.group("word") not in _KEYWORDS:
        word = match.group("word")
        codes = tuple(code for code in UNITS if code != "1")
        raise ExpressionError(match.start("word") + 1, f"no unit {word!r}{hint(word, codes)}")
    return "", at


def _tree(plain: str) -> ast.expr:
    try:
        # in parentheses, so that a condition may begin with a space
        return ast.parse(f"({plain})", mode="eval").body
    except SyntaxError as error:
        column = min(max((error.offset or 2) - 1, 1), len(plain) + 1)
        raise ExpressionError(column, f"not understood from here on ({error.msg})") from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError(1, "too deep to be read") from None


class _Compiler:
    """One walk over one tree. `metrics` and `parameters` are kept in order of appearance."""

    def __init__(self, plain: str, known: dict[int, tuple[str, str]]) -> None:
        self.plain = plain
        self.known = known
        self.metrics: dict[str, None] = {}
        self.parameters: dict[str, None] = {}

    def part(self, node: ast.expr, depth: int) -> Part:
        if depth > DEPTH_MAX:
            raise problem_at(node, f"nested deeper than {DEPTH_MAX}")
        match node:
            case ast.BoolOp(op, parts):
                truths = [self.truth(part, depth + 1) for part in parts]
                return reduce(both if isinstance(op, ast.And) else either, truths)
            case ast.UnaryOp(ast.Not(), inner):
                return negation(self.truth(inner, depth + 1))
            case ast.UnaryOp(ast.USub() | ast.UAdd() as sign, inner):
                number = self.number(inner, depth + 1)
                return negated(node, number) if isinstance(sign, ast.USub) else number
            case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as op, right):
                one, other = self.number(left, depth + 1), self.number(right, depth + 1)
                return arithmetic(node, op, one, other)
            case ast.Compare(left, ops, rights):
                sides = [(one, self.part(one, depth + 1)) for one in (left, *rights)]
                pairs = zip(sides, ops, sides[1:], strict=False)
                return reduce(both, [compared(op, *one, *other) for one, op, other in pairs])
            case ast.Call(ast.Name(word), parts, []) if word in FUNCTIONS:
                return FUNCTIONS[word](node, [self.number(part, depth + 1) for part in parts])
            case ast.Constant():
                return self.constant(node)
            case ast.Name() | ast.Attribute():
                return self.named(node)
        raise problem_at(node, f"{_NAMED.get(type(node), 'this')} has no place in a condition")

    def number(self, node: ast.expr, depth: int) -> Number:
        part = self.part(node, depth)
        if isinstance(part, State):
            raise problem_at(node, f"{part.metric.word} is a state, {state_help(part.metric)}")
        if not isinstance(part, Number):
            raise problem_at(node, "a number is wanted here")
        return part

    def truth(self, node: ast.expr, depth: int) -> Truth:
        part = self.part(node, depth)
        if not isinstance(part, Truth):
            raise problem_at(node, "a comparison is wanted here, as in pressure < 340 kPa")
        return part

    def constant(self, node: ast.Constant) -> Number | Word:
        text, code = self.known.get(node.col_offset - 1, ("", ""))
        if isinstance(node.value, str) and text[1:-1] == node.value:
            return Word(node.value)
        if isinstance(node.value, bool) or not isinstance(node.value, int | float) or not text:
            raise problem_at(node, f"{ast.unparse(node)} has no place in a condition")
        if abs(float(text)) > NUMBER_MAX:
            raise problem_at(node, f"a number is at most {NUMBER_MAX:g}")
        return fixed(Fraction(text), unit(code) if code else None)

    def named(self, node: ast.Name | ast.Attribute) -> Number | State:
        word = _dotted(node)
        if word.startswith("param."):
            return self.parameter(node, word)
        metric = CATALOGUE.get(word)
        if metric is None:
            known = (*CATALOGUE, *(f"param.{name}" for name in parameter_units()))
            raise problem_at(node, f"unknown name {word!r}{hint(word, known)}")
        self.metrics[word] = None
        if metric.form == "state":
            return State(metric, column(word))
        return Number(unit(metric.unit), column(word))

    def parameter(self, node: ast.expr, word: str) -> Number:
        name = word.removeprefix("param.")
        units = parameter_units()
        if name not in units:
            near = hint(name, tuple(units))
            raise problem_at(node, f"no device type has a parameter {name!r}{near}")
        self.parameters[name] = None
        return Number(unit(units[name]), column(word))


_NAMED: dict[type[ast.expr], str] = {
    ast.Call: "a call of anything but abs, min, max",
    ast.Tuple: "a list",
    ast.IfExp: "if … else",
    ast.BinOp: "an operator other than + - * /",
    ast.UnaryOp: "an operator other than + - * /",
    ast.Starred: "*",
    ast.GeneratorExp: "a loop",
    ast.JoinedStr: "a formatted text",
}


def _dotted(node: ast.expr) -> str:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise problem_at(node, "only names have dots")
    return ".".join([node.id, *reversed(names)])
