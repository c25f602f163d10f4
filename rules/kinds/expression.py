"""Kind `expression`: a condition over the newest values of a channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np

from ingest.inputs import Json
from ingest.readings import Numbers, Times
from rules.expression import Condition, compile_condition
from rules.kind import FOREVER_US, Columns, Kind, Rows, Scope, Told, Verdicts


@dataclass(frozen=True)
class Expression:
    """Holds while the condition `when` is true of the newest values of a channel.

    A metric that the channel lacks is taken from the device's main channel. A value that is
    stale or missing makes the answer unknown, unless the rest decides it alone.
    """

    when: Annotated[str, Told("条件", "The condition")]
    condition: Condition = field(init=False, repr=False, compare=False)

    per: ClassVar[Literal["channel", "device"]] = "channel"
    needs_all: ClassVar[bool] = True
    timed: ClassVar[bool] = False
    sightings: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "condition", compile_condition(self.when))

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.condition.metrics

    @property
    def parameters(self) -> tuple[str, ...]:
        return self.condition.parameters

    def fresh_columns(self, n: int) -> Columns:
        return {}

    def observe(self, memory: Columns, rows: Rows, scope: Scope) -> Verdicts:
        return self.condition.evaluate(columns_of(self.condition, self.metrics, scope))

    def judge(self, memory: Columns, scope: Scope) -> Verdicts:
        return self.condition.evaluate(columns_of(self.condition, self.metrics, scope))

    def due_us(self, memory: Columns, scope: Scope) -> Times:
        return np.full(len(scope), FOREVER_US)

    def evidence(self, memory: Columns, scope: Scope, row: int) -> dict[str, Json]:
        limits: dict[str, Json] = {
            name: float(column[row]) for name, column in scope.parameters.items()
        }
        return {"parameters": limits} if limits else {}


def columns_of(
    condition: Condition, metrics: tuple[str, ...], scope: Scope
) -> Mapping[str, Numbers]:
    """What the condition asks for, from a scope whose columns are `metrics`."""
    values = {
        metric: scope.value[:, at]
        for at, metric in enumerate(metrics)
        if metric in condition.metrics
    }
    return values | {f"param.{name}": scope.parameters[name] for name in condition.parameters}


KIND = Expression
_: type[Kind] = Expression
