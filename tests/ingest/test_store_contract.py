"""What every store on the shelf promises, checked against a dict."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readings import Flag, Readings, Series, SeriesTable
from ingest.shelf import from_shelf, shelf_words
from ingest.store import Cursor, Store

MINUTE_US = 60_000_000
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


@contextmanager
def a_folder_store(word: str) -> Iterator[Store]:
    """A store that needs a folder and nothing else."""
    open_store = cast("Callable[[Path], Store]", from_shelf("ingest.stores", word, "open_store"))
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "history")
        try:
            yield store
        finally:
            store.close()


# a store that needs a server gets its own way of being opened here
OPENERS: dict[str, Callable[[str], AbstractContextManager[Store]]] = {}


def opened(word: str) -> AbstractContextManager[Store]:
    return OPENERS.get(word, a_folder_store)(word)


every_store = pytest.mark.parametrize("word", shelf_words("ingest.stores"))


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


def check_equals_model(store: Store, rows: list[Row], since_us: int, until_us: int) -> None:
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
    store: Store, series: Series, rows: list[Row], since_us: int, until_us: int
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


def check_scan(store: Store, rows: list[Row], since_us: int, until_us: int) -> None:
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


@every_store
@settings(max_examples=60, deadline=None)
@given(some_appends(), st.integers(-4, 14), st.integers(0, 30), st.booleans())
def test_a_store_equals_a_dict_whatever_is_appended(
    word: str, appends: list[list[Row]], first: int, steps: int, tidy: bool
) -> None:
    with opened(word) as store:
        table = SeriesTable()
        for number, rows in enumerate(appends, 1):
            store.append(columns(rows, table), table, Cursor("j", number))
            if tidy:
                store.tidy()
        everything = list(itertools.chain.from_iterable(appends))
        since_us = T0_US + first * 10_000_000
        check_equals_model(store, everything, since_us, since_us + steps * 10_000_000)
        check_equals_model(store, everything, T0_US - 3 * DAY_US, T0_US + 3 * DAY_US)


@every_store
def test_an_empty_store_answers_with_nothing(word: str) -> None:
    with opened(word) as store:
        assert store.cursor() is None
        assert len(store.read(*SERIES[0], *EVER)) == 0
        assert list(store.scan(*EVER, SeriesTable())) == []
        found = store.buckets(*SERIES[0], T0_US, T0_US + 5 * MINUTE_US, MINUTE_US)
        assert found.count.tolist() == [0] * 5
        assert np.isnan(found.mean).all()
        assert store.tidy() is False


@every_store
def test_the_end_is_excluded_and_the_start_is_not(word: str) -> None:
    with opened(word) as store:
        table = SeriesTable()
        rows = [Row(SERIES[0], T0_US + n, T0_US + n, float(n), 0) for n in range(3)]
        store.append(columns(rows, table), table, Cursor("j", 1))
        assert store.read(*SERIES[0], T0_US, T0_US + 2).value.tolist() == [0.0, 1.0]
        assert [len(piece) for piece in store.scan(T0_US + 1, T0_US + 2, SeriesTable())] == [1]


@every_store
def test_appending_twice_keeps_one(word: str) -> None:
    with opened(word) as store:
        table = SeriesTable()
        rows = [Row(SERIES[0], T0_US + n, T0_US + 9, float(n), 0) for n in range(100)]
        for _ in range(2):
            store.append(columns(rows, table), table, Cursor("j", 1))
        assert len(store.read(*SERIES[0], *EVER)) == 100
        assert sum(len(piece) for piece in store.scan(*EVER, SeriesTable())) == 100


@every_store
def test_a_bad_value_never_hides_a_good_one(word: str) -> None:
    with opened(word) as store:
        table = SeriesTable()
        good = Row(SERIES[0], T0_US, T0_US + 1, 340.0, 0)
        later_but_bad = Row(SERIES[0], T0_US, T0_US + 2, 9_999.0, int(Flag.BAD))
        store.append(columns([good], table), table, Cursor("j", 1))
        store.append(columns([later_but_bad], table), table, Cursor("j", 2))
        assert store.read(*SERIES[0], *EVER).value.tolist() == [340.0]


@every_store
def test_the_cursor_is_the_last_one_that_was_appended_with(word: str) -> None:
    with opened(word) as store:
        table = SeriesTable()
        store.append(Readings.empty(), table, Cursor("one", 7))
        assert store.cursor() == Cursor("one", 7)
        store.append(Readings.empty(), table, Cursor("two", 3))
        assert store.cursor() == Cursor("two", 3)


@every_store
def test_a_table_of_the_caller_is_grown_and_never_renumbered(word: str) -> None:
    with opened(word) as store:
        table = SeriesTable.of(SERIES)
        rows = [Row(series, T0_US, T0_US, 1.0, 0) for series in SERIES]
        store.append(columns(rows, table), table, Cursor("j", 1))
        theirs = SeriesTable.of([SERIES[3], SERIES[0]])
        found = [row for piece in store.scan(*EVER, theirs) for row in plain(piece, theirs)]
        assert set(found) == set(rows)
        assert theirs.rows[:2] == [SERIES[3], SERIES[0]]
        assert set(theirs.rows) == set(SERIES)


@every_store
@pytest.mark.parametrize("step_us", [0, -1, 1])
def test_a_step_that_makes_no_sense_is_refused(word: str, step_us: int) -> None:
    with opened(word) as store, pytest.raises(ValueError, match=r"step|buckets"):
        store.buckets(*SERIES[0], T0_US, T0_US + DAY_US, step_us)
