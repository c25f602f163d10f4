"""Which readings history holds and shows: each once, the best of a time, summed up in steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ingest.clock import US_PER_S
from ingest.readings import Flag, Mask, Readings, SeriesNumbers, SeriesTable, Times
from ingest.store import Buckets

MAX_BUCKETS = 100_000
"""So many columns fit no screen; a request for more is a mistake."""

DAY_US = 86_400 * US_PER_S

Ranks = NDArray[np.int64]


def kept(readings: Readings) -> Readings:
    """What becomes history: what the broker remembered (RETAINED) is no news and does not."""
    return readings.take((readings.flags & Flag.RETAINED) == 0)


def once(readings: Readings, ranks: Ranks) -> Readings:
    """By series (in the order of `ranks`), time and arrival, in which each is there once.

    A row is known again by (series, time, arrival), as all rows of a message share their arrival
    and no other message has it. What is still double is one message that contradicts itself: a row
    that is not BAD stays, then the larger value, then the larger flags.
    """
    series = ranks[readings.series]
    order = np.lexsort((readings.arrival_us, readings.time_us, series))
    columns = (series, readings.time_us, readings.arrival_us)
    if not _repeats(columns, order).any():
        return readings.take(order)
    keys = (readings.flags, readings.value, _good(readings))
    order = np.lexsort((*keys, readings.arrival_us, readings.time_us, series))
    return readings.take(order[~_repeats(columns, order)])


def best(readings: Readings) -> Readings:
    """By series number and time, of which each is there once: a row that is not BAD before one
    that is, then the latest arrival, then the larger value, then the larger flags."""
    order = np.lexsort((readings.time_us, readings.series))
    columns = (readings.series, readings.time_us)
    if not _repeats(columns, order).any():
        return readings.take(order)
    keys = (readings.flags, readings.value, readings.arrival_us, _good(readings))
    order = np.lexsort((*keys, readings.time_us, readings.series))
    return readings.take(order[~_repeats(columns, order)])


def by_arrival(readings: Readings, ranks: Ranks) -> Readings:
    """By arrival, then time, then the name of the series."""
    order = np.lexsort((ranks[readings.series], readings.time_us, readings.arrival_us))
    return readings.take(order)


def name_ranks(table: SeriesTable) -> Ranks:
    """The place of each series number in the order of names, shape (len(table),)."""
    names = list(table.rows)  # another thread may add to the table meanwhile
    ranks = np.empty(len(names), np.int64)
    ranks[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return ranks


def renumbered(readings: Readings, numbers: SeriesNumbers) -> Readings:
    """The same rows with `numbers[series]` for their series."""
    return Readings(
        readings.time_us,
        readings.arrival_us,
        numbers[readings.series],
        readings.value,
        readings.flags,
    )


def check_step(since_us: int, until_us: int, step_us: int) -> int:
    """How many buckets that makes. ValueError says what would be right."""
    if step_us <= 0:
        raise ValueError(f"a step of {step_us} µs is none: it must be above 0")
    n = max(0, -(-(until_us - since_us) // step_us))
    if n > MAX_BUCKETS:
        raise ValueError(f"{n} buckets are too many: take a longer step, for at most {MAX_BUCKETS}")
    return n


def bucketed(readings: Readings, since_us: int, until_us: int, step_us: int) -> Buckets:
    """One series, by time and each time once, in steps from `since_us`. Rows that the device
    calls BAD, and values that are no number, do not count. Raises ValueError as `check_step`."""
    n = check_step(since_us, until_us, step_us)
    inside = (readings.time_us >= since_us) & (readings.time_us < until_us)
    counted = readings.take(inside & _good(readings) & ~np.isnan(readings.value))
    place = (counted.time_us - since_us) // step_us
    mean, low, high = (np.full(n, np.nan) for _ in range(3))
    count = np.zeros(n, np.int64)
    if len(counted):
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        filled = place[starts]
        count[filled] = np.diff(starts, append=len(counted))
        mean[filled] = np.add.reduceat(counted.value, starts) / count[filled]
        low[filled] = np.minimum.reduceat(counted.value, starts)
        high[filled] = np.maximum.reduceat(counted.value, starts)
    return Buckets(since_us + np.arange(n, dtype=np.int64) * step_us, mean, low, high, count)


def by_site_and_day(readings: Readings, table: SeriesTable) -> Iterator[tuple[str, int, Readings]]:
    """The rows of each site and UTC day of event time (days since 1970), each row once, sorted by
    the name of the series and time."""
    if not len(readings):
        return
    rows = once(readings, name_ranks(table))
    used = {n: table.rows[n].site for n in np.unique(rows.series).tolist()}
    sites = sorted(set(used.values()))
    place = np.zeros(len(table), np.int64)
    for number, site in used.items():
        place[number] = sites.index(site)
    days = rows.time_us // DAY_US
    order = np.lexsort((days, place[rows.series]))  # stable: series and time stay sorted
    site_of, day_of = place[rows.series][order], days[order]
    changes = (np.diff(site_of) != 0) | (np.diff(day_of) != 0)
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(order)]
    for start, end in pairwise(edges):
        yield sites[site_of[start]], int(day_of[start]), rows.take(order[start:end])


def _good(readings: Readings) -> Mask:
    good: Mask = (readings.flags & Flag.BAD) == 0
    return good


def _repeats(columns: Sequence[Times | SeriesNumbers], order: NDArray[np.intp]) -> Mask:
    """In that order, which rows are followed by one that is equal in all columns."""
    same = np.zeros(len(order), np.bool_)
    if len(order):
        same[:-1] = True
        for column in columns:
            ordered = column[order]
            same[:-1] &= ordered[1:] == ordered[:-1]
    return same
