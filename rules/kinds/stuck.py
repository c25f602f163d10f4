"""Kind `stuck`: a metric that stays the same though rows keep coming."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np

from ingest.clock import US_PER_S
from ingest.inputs import Json
from ingest.metrics import CATALOGUE
from ingest.readings import Mask, Times
from ingest.shelf import nearest
from rules.expression import Condition, compile_condition
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
from rules.kinds.expression import columns_of
from rules.pace import paced


@dataclass(frozen=True)
class Stuck:
    """Holds when `metric` has stayed within `tolerance` of one value for `after`, by the device's
    time, while rows kept coming and, if `when` is given, that condition held (a pump that runs).
    A gap of more than ten usual intervals begins the count anew."""

    metric: Annotated[str, Told("指标", "The metric")]
    after_s: Annotated[int, Told("多久不变", "How long it stays the same")]
    tolerance: Annotated[float, Told("容差", "How far it may move, in its unit")] = 0.0
    when: Annotated[str | None, Told("前提条件", "Only while this condition holds")] = None
    condition: Condition | None = field(init=False, repr=False, compare=False, default=None)

    per: ClassVar[Literal["channel", "device"]] = "channel"
    needs_all: ClassVar[bool] = True
    sightings: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.metric not in CATALOGUE:
            raise ValueError(f"no metric {self.metric!r}{nearest(self.metric, tuple(CATALOGUE))}")
        if self.after_s <= 0:
            raise ValueError("after must be longer than 0s")
        if not self.tolerance >= 0:
            raise ValueError("tolerance must not be negative")
        if self.when is not None:
            object.__setattr__(self, "condition", compile_condition(self.when))

    @property
    def metrics(self) -> tuple[str, ...]:
        asked = self.condition.metrics if self.condition else ()
        return (self.metric, *(metric for metric in asked if metric != self.metric))

    @property
    def parameters(self) -> tuple[str, ...]:
        return self.condition.parameters if self.condition else ()

    def fresh_columns(self, n: int) -> Columns:
        return {
            "anchor": np.full(n, np.nan),
            "since_us": np.full(n, NEVER_US),
            "time_us": np.full(n, NEVER_US),
            "pace_us": np.zeros(n, np.int64),
        }

    def observe(self, memory: Columns, rows: Rows, scope: Scope) -> Verdicts:
        allowed = self._allowed(scope)
        self._forget(memory, rows[allowed != YES])
        new = scope.fresh[:, 0] & (allowed == YES)
        stuck = self._follow(memory, rows[new], scope, new)
        word = np.where(allowed == YES, SILENT, allowed)
        word[new] = np.where(stuck, YES, NO)
        return word

    def judge(self, memory: Columns, scope: Scope) -> Verdicts:
        stale = np.isnan(scope.value[:, 0]) | (self._allowed(scope) == UNKNOWN)
        return np.where(stale, UNKNOWN, SILENT)

    def due_us(self, memory: Columns, scope: Scope) -> Times:
        return np.full(len(scope), FOREVER_US)

    def evidence(self, memory: Columns, scope: Scope, row: int) -> dict[str, Json]:
        since, last = int(memory["since_us"][row]), int(memory["time_us"][row])
        unchanged = None if since == NEVER_US else (last - since) // US_PER_S
        return {"unchanged_s": unchanged, "tolerance": self.tolerance}

    def _allowed(self, scope: Scope) -> Verdicts:
        if self.condition is None:
            return np.full(len(scope), YES)
        return self.condition.evaluate(columns_of(self.condition, self.metrics, scope))

    def _forget(self, memory: Columns, rows: Rows) -> None:
        memory["anchor"][rows] = np.nan
        memory["since_us"][rows] = NEVER_US

    def _follow(self, memory: Columns, rows: Rows, scope: Scope, new: Mask) -> Mask:
        """Takes a new row of the metric into the memory; where it has been the same for long."""
        value, time_us = scope.value[new, 0], scope.time_us[new, 0]
        anchor, since_us = memory["anchor"][rows], memory["since_us"][rows]
        before_us = memory["time_us"][rows]
        first = before_us == NEVER_US
        step_us = np.where(first, 0, time_us - np.where(first, time_us, before_us))
        gap, pace_us = paced(memory["pace_us"][rows], step_us)
        with np.errstate(invalid="ignore"):
            moved = gap | ~(np.abs(value - anchor) <= self.tolerance)
        since_us = np.where(moved, time_us, since_us)
        memory["anchor"][rows] = np.where(moved, value, anchor)
        memory["since_us"][rows] = since_us
        memory["time_us"][rows] = time_us
        memory["pace_us"][rows] = pace_us
        stuck: Mask = time_us - since_us >= self.after_s * US_PER_S
        return stuck


KIND = Stuck
_: type[Kind] = Stuck
