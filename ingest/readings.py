"""Readings as equal columns, and the flags that say how far to trust them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntFlag
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Numbers = NDArray[np.float64]
SeriesNumbers = NDArray[np.int32]
Flags = NDArray[np.uint16]
Mask = NDArray[np.bool_]


class Flag(IntFlag):
    """What is known against a reading; no flag means that device and clock are believed."""

    TS_MISSING = 1  # the device gave no time: arrival counts
    TS_UNSET = 2  # a clock that was never set (1970, 2000): arrival counts
    TS_UNIT = 4  # seconds where milliseconds were declared, or the like: arrival counts
    CLOCK_AHEAD = 8  # more than 120 s in the future: arrival counts
    LATE = 16  # older than 10 min on arrival: corrects history, never pages
    RETAINED = 32  # the broker's memory, not news
    BAD = 64  # the device itself calls this value bad
    OUT_OF_ORDER = 128  # older than its series' newest: corrects history only


NOT_FRESH = Flag.LATE | Flag.RETAINED | Flag.BAD | Flag.OUT_OF_ORDER
"""A reading with one of these never touches the state of a rule."""


def flag_words(flags: int) -> list[str]:
    """The names of the flags that are set, in lower case, in bit order."""
    return [flag.name.lower() for flag in Flag if flags & flag and flag.name]


class Series(NamedTuple):
    """One quantity of one channel of one device."""

    site: str
    device: str
    channel: str
    metric: str


@dataclass(frozen=True, slots=True)
class Readings:
    """`n` readings as columns of shape (n,): times are µs since 1970 UTC."""

    time_us: Times
    arrival_us: Times
    series: SeriesNumbers
    value: Numbers
    flags: Flags

    def __len__(self) -> int:
        return len(self.time_us)

    def take(self, rows: Mask | NDArray[np.intp] | slice) -> Readings:
        """The rows that a mask, an index array or a slice names, in that order."""
        return Readings(
            self.time_us[rows],
            self.arrival_us[rows],
            self.series[rows],
            self.value[rows],
            self.flags[rows],
        )

    @staticmethod
    def empty() -> Readings:
        return Readings.of([], [], [], [], [])

    @staticmethod
    def of(
        time_us: Sequence[int],
        arrival_us: Sequence[int],
        series: Sequence[int],
        value: Sequence[float],
        flags: Sequence[int],
    ) -> Readings:
        """Columns from plain sequences of equal length."""
        return Readings(
            np.asarray(time_us, np.int64),
            np.asarray(arrival_us, np.int64),
            np.asarray(series, np.int32),
            np.asarray(value, np.float64),
            np.asarray(flags, np.uint16),
        )

    @staticmethod
    def concat(parts: Sequence[Readings]) -> Readings:
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Readings.empty()
        return Readings(
            np.concatenate([p.time_us for p in parts]),
            np.concatenate([p.arrival_us for p in parts]),
            np.concatenate([p.series for p in parts]),
            np.concatenate([p.value for p in parts]),
            np.concatenate([p.flags for p in parts]),
        )


@dataclass(slots=True)
class SeriesTable:
    """Series and their row numbers: append-only, so that a number never changes its meaning."""

    rows: list[Series] = field(default_factory=list)
    numbers: dict[Series, int] = field(default_factory=dict)

    @staticmethod
    def of(rows: Iterable[Series]) -> SeriesTable:
        table = SeriesTable()
        for row in rows:
            table.number(row)
        return table

    def number(self, series: Series) -> int:
        """The row number of a series, given to it now if it is new."""
        known = self.numbers.get(series)
        if known is not None:
            return known
        self.numbers[series] = len(self.rows)
        self.rows.append(series)
        return len(self.rows) - 1

    def __len__(self) -> int:
        return len(self.rows)
