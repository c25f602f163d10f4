"""At which values the rules of a series change their mind: the levels drawn into its trend."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ingest.changes import Severity
from ingest.metrics import CATALOGUE
from ingest.readings import Series
from ingest.registry import Device
from rules.expression import Condition
from rules.kinds.expression import Expression
from rules.rule import Rule

GRID = 2_001
HALVINGS = 60

Levels = tuple[tuple[float, Severity], ...]


def levels_of(rules: Sequence[Rule], device: Device, series: Series) -> Levels:
    """(value, severity) of each rule for people that looks at this metric alone."""
    low, high = device.kind.bounds(series.channel, series.metric)
    return tuple(
        (value, rule.severity)
        for rule, kind in _watching(rules, device, series)
        for value in crossings(kind.condition, _named(device, kind), low, high)
    )


def references_of(
    rules: Sequence[Rule], device: Device, series: Series
) -> tuple[tuple[str, float], ...]:
    """The device's parameters, in the unit of the metric, that those rules compare it with."""
    unit = CATALOGUE[series.metric].unit
    named = {
        word: value
        for _, kind in _watching(rules, device, series)
        for word, value in _named(device, kind)
        if device.kind.parameters[word].unit == unit
    }
    return tuple(named.items())


def _watching(
    rules: Sequence[Rule], device: Device, series: Series
) -> list[tuple[Rule, Expression]]:
    if CATALOGUE[series.metric].form == "state":
        return []
    return [
        (rule, rule.kind)
        for rule in rules
        if isinstance(rule.kind, Expression)
        and rule.kind.metrics == (series.metric,)
        and rule.audience == "people"
        and rule.on.takes_device(series.site, device)
        and rule.on.takes_channel(series.channel)
    ]


def _named(device: Device, kind: Expression) -> tuple[tuple[str, float], ...]:
    return tuple((word, _parameter(device, word)) for word in kind.parameters)


def _parameter(device: Device, name: str) -> float:
    return device.params.get(name, device.kind.parameters[name].value)


@lru_cache(maxsize=2_048)
def crossings(
    condition: Condition, parameters: tuple[tuple[str, float], ...], low: float, high: float
) -> tuple[float, ...]:
    """Where, between `low` and `high`, the answer to a condition over one metric changes: found
    by halving, so that it is right for every condition that can be written."""
    grid = np.linspace(low, high, GRID)
    answers = _answers(condition, parameters, grid)
    cells = np.flatnonzero(np.diff(answers) != 0)
    left, right = grid[cells], grid[cells + 1]
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        same = _answers(condition, parameters, middle) == answers[cells]
        left, right = np.where(same, middle, left), np.where(same, right, middle)
    return tuple(float(f"{value:.6g}") for value in right.tolist())


def _answers(
    condition: Condition,
    parameters: tuple[tuple[str, float], ...],
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    columns = {f"param.{name}": np.full(len(values), value) for name, value in parameters}
    answers = condition.evaluate({condition.metrics[0]: values, **columns})
    return np.asarray(answers, np.int8)
