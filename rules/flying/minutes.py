"""Readings at any pace to means by minute of event time; short gaps are held, long ones are not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ingest.readings import Numbers, Times
from rules.kind import NEVER_US, Columns, Rows

US_PER_MINUTE = 60_000_000
HOLD_MINUTES = 11  # metering plugs are polled every 5 to 10 min, and come a little late


@dataclass(frozen=True, slots=True)
class Tick:
    """A minute that is over for the instances `rows`; columns (k,), `mean` in W."""

    rows: Rows
    minute: Times
    mean: Numbers


@dataclass(frozen=True, slots=True)
class Gap:
    """`count` minutes from `first` on of which nothing is known; columns (k,)."""

    rows: Rows
    first: Times
    count: Times


def fresh_minutes(n: int) -> Columns:
    """`minute` is the one that is being filled, NEVER_US before the first reading."""
    return {
        "minute": np.full(n, NEVER_US, np.int64),
        "total": np.zeros(n),
        "count": np.zeros(n, np.int64),
        "last": np.zeros(n),
    }


def closed_minutes(
    memory: Columns, rows: Rows, time_us: Times, value: Numbers
) -> Iterator[Tick | Gap]:
    """Takes one reading per row in and yields, oldest first, what is over by it. The caller uses
    each Tick or Gap before it asks for the next. Readings of an older minute are ignored."""
    minute = time_us // US_PER_MINUTE
    current = memory["minute"][rows]
    fresh = current == NEVER_US
    ahead = minute - np.where(fresh, minute - 1, current)
    over = (ahead > 0) & ~fresh
    if over.any():
        yield from _over(memory, rows[over], ahead[over])
    begin = fresh | over
    if begin.any():
        memory["minute"][rows[begin]] = minute[begin]
        memory["total"][rows[begin]] = 0.0
        memory["count"][rows[begin]] = 0
    if (ahead < 0).any():
        rows, value = rows[ahead >= 0], value[ahead >= 0]
    memory["total"][rows] += value
    memory["count"][rows] += 1
    memory["last"][rows] = value


def _over(memory: Columns, rows: Rows, ahead: Times) -> Iterator[Tick | Gap]:
    minute = memory["minute"][rows]
    yield Tick(rows, minute, memory["total"][rows] / memory["count"][rows])
    held = np.where(ahead <= HOLD_MINUTES, ahead, 0)
    for step in range(1, int(held.max())):
        later = held > step
        yield Tick(rows[later], minute[later] + step, memory["last"][rows[later]])
    silent = ahead > HOLD_MINUTES
    if silent.any():
        yield Gap(rows[silent], minute[silent] + 1, ahead[silent] - 1)
