"""Kind `rate`: a metric that rises or falls too fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from ingest.clock import US_PER_S
from ingest.inputs import Json
from ingest.metrics import CATALOGUE
from ingest.readings import Numbers, Times
from ingest.shelf import nearest
from rules.kind import (
    FOREVER_US,
    NEVER_US,
    NO,
    SILENT,
    UNKNOWN,
    YES,
    Columns,
    Kind,
    Rows,
    Scope,
    Told,
    Verdicts,
)
from rules.pace import paced


@dataclass(frozen=True)
class Rate:
    """Holds while `metric` changes by more than `above`, or by less than `below` (negative: a
    fall), in the time `over`, from one row to the next. Limits are in the metric's unit. Rows
    further apart than ten usual intervals say nothing about a rate."""

    metric: Annotated[str, Told("指标", "The metric")]
    above: Annotated[float | None, Told("变化上限", "The change that is too much")] = None
    below: Annotated[float | None, Told("变化下限", "The change that is too little")] = None
    over_s: Annotated[int, Told("单位时间", "The time in which it changes so much")] = 60

    per: ClassVar[Literal["channel", "device"]] = "channel"
    timed: ClassVar[bool] = False
    parameters: ClassVar[tuple[str, ...]] = ()
    sightings: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.metric not in CATALOGUE:
            raise ValueError(f"no metric {self.metric!r}{nearest(self.metric, tuple(CATALOGUE))}")
        if CATALOGUE[self.metric].form == "state":
            raise ValueError(f"{self.metric} is a state: it has no rate")
        if self.above is None and self.below is None:
            raise ValueError("above or below must be given, in the metric's unit")
        if self.above is not None and self.below is not None and self.below > self.above:
            raise ValueError("below is greater than above: every rate would be one of the two")
        if self.over_s <= 0:
            raise ValueError("over must be longer than 0s")

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def fresh_columns(self, n: int) -> Columns:
        return {
            "value": np.full(n, np.nan),
            "time_us": np.full(n, NEVER_US),
            "pace_us": np.zeros(n, np.int64),
            "rate": np.full(n, np.nan),
        }

    def observe(self, memory: Columns, rows: Rows, scope: Scope) -> Verdicts:
        value, time_us = scope.value[:, 0], scope.time_us[:, 0]
        before_us = memory["time_us"][rows]
        first = before_us == NEVER_US
        step_us = np.where(first, 0, time_us - np.where(first, time_us, before_us))
        gap, pace_us = paced(memory["pace_us"][rows], step_us)
        with np.errstate(divide="ignore", invalid="ignore"):
            change = value - memory["value"][rows]
            rate = np.where(gap | first, np.nan, change / step_us * (self.over_s * US_PER_S))
        memory["value"][rows] = value
        memory["time_us"][rows] = time_us
        memory["pace_us"][rows] = pace_us
        memory["rate"][rows] = rate
        return self._verdicts(rate)

    def judge(self, memory: Columns, scope: Scope) -> Verdicts:
        return np.where(np.isnan(scope.value[:, 0]), UNKNOWN, SILENT)

    def due_us(self, memory: Columns, scope: Scope) -> Times:
        return np.full(len(scope), FOREVER_US)

    def evidence(self, memory: Columns, scope: Scope, row: int) -> dict[str, Json]:
        return {"rate": float(memory["rate"][row]), "over_s": self.over_s}

    def _verdicts(self, rate: Numbers) -> Verdicts:
        holds = np.zeros(len(rate), bool)
        if self.above is not None:
            holds |= rate > self.above
        if self.below is not None:
            holds |= rate < self.below
        return np.where(np.isnan(rate), UNKNOWN, np.where(holds, YES, NO))


KIND = Rate
_: type[Kind] = Rate
