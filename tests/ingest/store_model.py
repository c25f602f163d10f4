"""The slow and obvious model of history that stores, drain and history are checked against."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

from ingest.history import History
from ingest.readings import Flag, Readings, Series, SeriesTable
from ingest.store import Store

Readable = Store | History

DAY_US = 86_400_000_000
T0_US = 1_795_000_000_000_000 // DAY_US * DAY_US  # a UTC midnight in 2026
EVER = (-(2**62), 2**62)

SERIES = (
    Series("rihuali", "p1", "main", "pressure"),
    Series("rihuali", "p1", "main", "flow"),
    Series("rihuali", "c1", "L1", "power.active"),
    Series("o'hara 东区", "c1", "插座-1", "power.active"),
)


class Row(NamedTuple):
    """A reading in plain words."""

    series: Series
    time_us: int
    arrival_us: int
    value: float
    flags: int


def columns(rows: list[Row], table: SeriesTable) -> Readings:
    return Readings.of(
        [row.time_us for row in rows],
        [row.arrival_us for row in rows],
        [table.number(row.series) for row in rows],
        [row.value for row in rows],
        [row.flags for row in rows],
    )


def plain(readings: Readings, table: SeriesTable) -> list[Row]:
    return [
        Row(table.rows[n], t, a, v, f)
        for t, a, n, v, f in zip(
            readings.time_us.tolist(),
            readings.arrival_us.tolist(),
            readings.series.tolist(),
            readings.value.tolist(),
            readings.flags.tolist(),
            strict=True,
        )
    ]


def the_best(rows: list[Row]) -> dict[tuple[Series, int], Row]:
    """The slow and obvious model of what counts."""
    best: dict[tuple[Series, int], Row] = {}
    for row in rows:
        known = best.get((row.series, row.time_us))
        if known is None or _order(row) > _order(known):
            best[row.series, row.time_us] = row
    return best


def _order(row: Row) -> tuple[bool, int, float, int]:
    return (not row.flags & Flag.BAD, row.arrival_us, row.value, row.flags)


def some_rows(series: tuple[Series, ...] = SERIES) -> st.SearchStrategy[list[Row]]:
    times = st.builds(
        lambda day, step: T0_US + day * DAY_US + step * 10_000_000,
        st.integers(-1, 1),
        st.integers(-3, 12),
    )
    row = st.builds(
        Row,
        st.sampled_from(series),
        times,
        st.integers(0, 30).map(lambda n: T0_US + n * 7_000_000),
        st.integers(-40, 40).map(lambda n: n / 4),
        st.sampled_from([0, 0, 0, int(Flag.BAD), int(Flag.LATE), int(Flag.LATE | Flag.BAD)]),
    )
    return st.lists(row, max_size=25)


def some_appends() -> st.SearchStrategy[list[list[Row]]]:
    return st.lists(some_rows(), max_size=12)


def check_equals_model(store: Readable, rows: list[Row], since_us: int, until_us: int) -> None:
    """All that can be read of a store, against the model."""
    best = the_best(rows)
    for series in SERIES:
        found = plain(store.read(*series, since_us, until_us), SeriesTable.of([series]))
        wanted = [
            row
            for (name, time_us), row in sorted(best.items(), key=lambda item: item[0])
            if name == series and since_us <= time_us < until_us
        ]
        assert found == wanted
        check_buckets(store, series, wanted, since_us, until_us)
    check_scan(store, rows, since_us, until_us)


def check_buckets(
    store: Readable, series: Series, rows: list[Row], since_us: int, until_us: int
) -> None:
    step_us = 25_000_000
    if until_us - since_us > 1_000 * step_us:
        step_us = (until_us - since_us) // 700
    found = store.buckets(*series, since_us, until_us, step_us)
    assert len(found.start_us) == math.ceil((until_us - since_us) / step_us)
    for i, start_us in enumerate(range(since_us, until_us, step_us)):
        end_us = min(start_us + step_us, until_us)
        values = [
            r.value for r in rows if start_us <= r.time_us < end_us and not r.flags & Flag.BAD
        ]
        assert found.start_us[i] == start_us
        assert found.count[i] == len(values)
        if values:
            assert found.mean[i] == pytest.approx(sum(values) / len(values))
            assert (found.low[i], found.high[i]) == (min(values), max(values))
        else:
            assert np.isnan([found.mean[i], found.low[i], found.high[i]]).all()


def check_scan(store: Readable, rows: list[Row], since_us: int, until_us: int) -> None:
    table = SeriesTable.of(SERIES[2:])
    slices = list(store.scan(since_us, until_us, table))
    assert all(0 < len(piece) <= 500_000 for piece in slices)
    found = [row for piece in slices for row in plain(piece, table)]
    order = [(row.arrival_us, row.time_us) for row in found]
    assert order == sorted(order)
    keys = {(row.series, row.time_us, row.arrival_us) for row in found}
    assert len(keys) == len(found)
    inside = [row for row in rows if since_us <= row.arrival_us < until_us]
    assert set(found) <= set(inside)
    counting = the_best(rows).values()
    assert {r for r in counting if since_us <= r.arrival_us < until_us} <= set(found)
