"""The life of an alert as columns: quiet → pending → firing → resolved, and unknown."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.clock import US_PER_S
from ingest.readings import Mask, Times
from rules.columns import column, longer
from rules.kind import FOREVER_US, NEVER_US, NO, SILENT, UNKNOWN, YES, Rows, Verdicts

LIFE: dict[str, Any] = {
    "word": NO,
    "clear": YES,
    "since_us": NEVER_US,
    "latch_us": NEVER_US,
    "held_us": NEVER_US,
    "clear_since_us": NEVER_US,
    "firing": np.bool_(False),
    "unknown": np.bool_(False),
    "started_us": NEVER_US,
    "fired_since_us": NEVER_US,
    "due_us": FOREVER_US,
    "ask_us": FOREVER_US,
}
"""What changes in the life of an instance, and what it begins with; all of it is checkpointed."""

_PLACE: dict[str, Any] = {
    "rule": np.uint16(0),
    "row": np.int32(0),
    "device": np.int32(0),
    "for_us": np.int64(0),
    "clear_for_us": np.int64(0),
    "keep_us": np.int64(0),
    "own_clear": np.bool_(False),
    "touched": np.bool_(False),
}


@dataclass(slots=True)
class Alerts:
    """One row an instance, over all rules; arrays are longer than the `n` rows in use.

    `word` is the last verdict of the rule's kind, `clear` that of its clear condition (the
    opposite of `word` where it has none of its own). `since_us`: when `word` became YES;
    `latch_us`: the same for a rule without `for`, kept until the next grid point even if the
    condition is over by then; `held_us`: when it last stopped being YES. `due_us`: the next grid
    point at which something may happen by itself; `ask_us`: at which the kind must be asked.
    `touched`: something
    came in since the last grid point. `rule` and `row` say whose instance it is.
    """

    n: int = 0
    word: Verdicts = field(default_factory=partial(column, NO))
    clear: Verdicts = field(default_factory=partial(column, YES))
    since_us: Times = field(default_factory=partial(column, NEVER_US))
    latch_us: Times = field(default_factory=partial(column, NEVER_US))
    held_us: Times = field(default_factory=partial(column, NEVER_US))
    clear_since_us: Times = field(default_factory=partial(column, NEVER_US))
    firing: Mask = field(default_factory=partial(column, np.bool_(False)))
    unknown: Mask = field(default_factory=partial(column, np.bool_(False)))
    started_us: Times = field(default_factory=partial(column, NEVER_US))
    fired_since_us: Times = field(default_factory=partial(column, NEVER_US))
    due_us: Times = field(default_factory=partial(column, FOREVER_US))
    ask_us: Times = field(default_factory=partial(column, FOREVER_US))
    rule: NDArray[np.uint16] = field(default_factory=partial(column, np.uint16(0)))
    row: NDArray[np.int32] = field(default_factory=partial(column, np.int32(0)))
    device: NDArray[np.int32] = field(default_factory=partial(column, np.int32(0)))
    for_us: Times = field(default_factory=partial(column, np.int64(0)))
    clear_for_us: Times = field(default_factory=partial(column, np.int64(0)))
    keep_us: Times = field(default_factory=partial(column, np.int64(0)))
    own_clear: Mask = field(default_factory=partial(column, np.bool_(False)))
    touched: Mask = field(default_factory=partial(column, np.bool_(False)))

    def add(self) -> int:
        """The number of a new instance, quiet and not yet judged."""
        if self.n == len(self.word):
            for name, fill in (LIFE | _PLACE).items():
                setattr(self, name, longer(getattr(self, name), fill))
        self.n += 1
        return self.n - 1


@dataclass(frozen=True, slots=True)
class Turns:
    """Instances whose alert turned at a grid point, ascending."""

    fired: Rows
    resolved: Rows
    lost: Rows
    found: Rows


def by_rule(alerts: Alerts, instances: Rows) -> tuple[Rows, list[tuple[int, slice]]]:
    """The instances ordered by rule, and each rule with its part of them."""
    rule = alerts.rule[instances]
    order = np.argsort(rule, kind="stable")
    instances, rule = instances[order], rule[order]
    begins = [0, *(np.flatnonzero(rule[1:] != rule[:-1]) + 1).tolist(), len(rule)]
    parts = [slice(*ends) for ends in itertools.pairwise(begins)]
    return instances, [(int(rule[part.start]), part) for part in parts if part.start < part.stop]


def hear(alerts: Alerts, rows: Rows, word: Verdicts, clear: Verdicts, now_us: Times) -> None:
    """Takes in the verdicts (k,) of a moment `now_us` (k,). A break of the condition, UNKNOWN
    included, ends what counts towards `for`; likewise for the clear condition."""
    was, was_clear = alerts.word[rows], alerts.clear[rows]
    word = np.where(word == SILENT, was, word)
    own = alerts.own_clear[rows]
    clear = np.where(own, np.where(clear == SILENT, was_clear, clear), _opposite(word))
    changed = (word != was) | (clear != was_clear)
    if not changed.any():
        return
    rows, word, clear, now_us = rows[changed], word[changed], clear[changed], now_us[changed]
    held, cleared = was[changed] == YES, was_clear[changed] == YES
    holds, clears = word == YES, clear == YES
    begins = holds & ~held
    alerts.since_us[rows[begins]] = now_us[begins]
    latches = begins & (alerts.for_us[rows] == 0) & (alerts.latch_us[rows] == NEVER_US)
    alerts.latch_us[rows[latches]] = now_us[latches]
    ends = held & ~holds
    alerts.held_us[rows[ends]] = now_us[ends]
    clearing = clears & ~holds & ~(cleared & ~held)
    alerts.clear_since_us[rows[clearing]] = now_us[clearing]
    alerts.word[rows] = word
    alerts.clear[rows] = clear


def settle(alerts: Alerts, rows: Rows, now_us: int) -> Turns:
    """The grid point `now_us`, for the instances `rows`. An alert that fires here resolves at a
    later grid point at the earliest."""
    holds, clear = alerts.word[rows] == YES, alerts.clear[rows]
    latch, firing, unknown = alerts.latch_us[rows], alerts.firing[rows], alerts.unknown[rows]
    latched = latch != NEVER_US
    since = alerts.since_us[rows]
    fires = ~firing & (latched | (holds & (now_us - since >= alerts.for_us[rows])))
    over_us = _over_us(alerts, rows)
    clearing = firing & (clear == YES) & ~holds
    resolves = clearing & (over_us <= now_us)
    doubtful = clear == UNKNOWN
    lost = firing & doubtful & ~unknown
    found = firing & ~resolves & ~doubtful & unknown
    alerts.latch_us[rows] = NEVER_US
    alerts.firing[rows] = fires | (firing & ~resolves)
    alerts.unknown[rows] = (unknown | lost) & ~found & ~resolves
    alerts.started_us[rows[fires]] = now_us
    alerts.fired_since_us[rows[fires]] = np.where(latched, latch, since)[fires]
    due = np.full(len(rows), FOREVER_US)
    pending = ~firing & ~fires & holds
    due[pending] = (since + alerts.for_us[rows])[pending]
    due[clearing & ~resolves] = over_us[clearing & ~resolves]
    due[fires] = now_us + US_PER_S
    alerts.due_us[rows] = on_grid(due)
    return Turns(rows[fires], rows[resolves], rows[lost], rows[found])


def on_grid(time_us: Times) -> Times:
    """The first whole second at or after each time; FOREVER_US stays."""
    grid = -(-time_us // US_PER_S) * US_PER_S
    whole: Times = np.where(time_us == FOREVER_US, FOREVER_US, grid)
    return whole


def _over_us(alerts: Alerts, rows: Rows) -> Times:
    """When a clear condition that holds will have held long enough."""
    cleared = alerts.clear_since_us[rows] + alerts.clear_for_us[rows]
    over: Times = np.maximum(cleared, alerts.held_us[rows] + alerts.keep_us[rows])
    return over


def _opposite(word: Verdicts) -> Verdicts:
    return np.where(word == UNKNOWN, UNKNOWN, YES - word).astype(np.int8)
