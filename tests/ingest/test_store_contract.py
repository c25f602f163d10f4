"""What every store on the shelf promises, checked against a dict."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readings import Flag, Readings, SeriesTable
from ingest.shelf import from_shelf, shelf_words
from ingest.store import Cursor, Store
from tests.ingest.store_model import (
    DAY_US,
    EVER,
    SERIES,
    T0_US,
    Row,
    check_equals_model,
    columns,
    plain,
    some_appends,
)

MINUTE_US = 60_000_000


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


@every_store
@settings(max_examples=30, deadline=None)
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
