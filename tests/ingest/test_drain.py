"""The drain: whatever fails and wherever it is cut, the store ends with each reading once."""

from __future__ import annotations

import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.clock import Clock
from ingest.cursors import read_cursors
from ingest.drain import Drain, retry_delay_s
from ingest.inputs import Inputs
from ingest.journal import Batch
from ingest.journal_memory import MemoryJournal
from ingest.readings import Flag, Readings, SeriesTable
from ingest.store import Cursor, Store, StoreError
from ingest.stores.embedded import open_store
from ingest.stores.memory import Memory
from tests.ingest.store_model import (
    DAY_US,
    EVER,
    SERIES,
    T0_US,
    Row,
    check_equals_model,
    columns,
    some_appends,
)

NEVER_S = 1e6
AT_ONCE_S = 0.0


def commit(journal: MemoryJournal, rows: list[Row]) -> None:
    known = len(journal.table())
    grown = SeriesTable.of(journal.table().rows)
    readings = columns(rows, grown)
    number = journal.last() + 1
    inputs = Inputs(readings, new_series=tuple(grown.rows[known:]))
    journal.commit(Batch(number, T0_US + number * 1_000_000, inputs))


def one(n: int, flags: int = 0) -> Row:
    return Row(SERIES[0], T0_US + n * 1_000_000, T0_US + n * 1_000_000, float(n), flags)


def values(store: Store) -> list[float]:
    found: list[float] = store.read(*SERIES[0], *EVER).value.tolist()
    return found


def wait_for(holds: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
    end_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end_s, f"not within {within_s} s: {what}"
        time.sleep(0.005)


@pytest.fixture
def cursors(tmp_path: Path) -> Path:
    return tmp_path / "cursors"


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal("j")


@pytest.fixture
def store() -> Iterator[Memory]:
    opened = Memory()
    yield opened
    opened.close()


class Trouble(Memory):
    """A store that fails at times, before it has done what was asked or after it."""

    def __init__(self, chance: random.Random, permanent: bool = False) -> None:
        super().__init__()
        self.chance = chance
        self.permanent = permanent
        self.down = False

    def append(self, readings: Readings, table: SeriesTable, cursor: Cursor) -> None:
        fate = self.chance.random()
        if self.down or fate < 0.25:
            raise StoreError("no answer from the store", permanent=self.permanent)
        super().append(readings, table, cursor)
        if fate < 0.5:
            raise StoreError("no answer from the store, which did it all the same")


@settings(max_examples=40, deadline=None)
@given(some_appends(), st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([0.0, NEVER_S]))
def test_failures_and_restarts_anywhere_lose_nothing_and_double_nothing(
    batches: list[list[Row]], seed: int, part_rows: int, every_s: float
) -> None:
    chance = random.Random(seed)
    journal, store = MemoryJournal("j"), Trouble(chance)
    with tempfile.TemporaryDirectory() as name:

        def started() -> Drain:
            return Drain(store, journal, Clock(), Path(name), every_s=every_s, part_rows=part_rows)

        drain = started()
        for rows in batches:
            commit(journal, rows)
            for _ in range(chance.randrange(3)):
                drain.step()
            if chance.random() < 0.2:
                drain = started()
        drain = Drain(store, journal, Clock(), Path(name), every_s=AT_ONCE_S)
        for _ in range(200):
            drain.step()
            if drain.status().batch == journal.last() and not drain.status().error:
                break
        assert store.cursor() == (Cursor("j", len(batches)) if batches else None)
        assert len(store._state[0]) == sum(len(rows) for rows in batches)  # none came twice
        check_equals_model(
            store, list(itertools.chain.from_iterable(batches)), T0_US - 2 * DAY_US, T0_US + DAY_US
        )


def test_it_appends_when_a_part_is_full_and_not_before(
    store: Memory, journal: MemoryJournal, cursors: Path
) -> None:
    drain = Drain(store, journal, Clock(), cursors, every_s=NEVER_S, part_rows=10)
    for n in range(9):
        commit(journal, [one(n)])
        drain.step()
    assert values(store) == []
    assert drain.status().lag_batches == 9
    commit(journal, [one(9)])
    drain.step()
    assert len(values(store)) == 10
    assert drain.status().lag_batches == 0


def test_it_appends_when_the_service_clock_says_that_it_is_time(
    store: Memory, journal: MemoryJournal, cursors: Path
) -> None:
    """10,000 service seconds a second: a minute passes in 6 ms."""
    clock = Clock(start_us=T0_US, speed=10_000.0)
    drain = Drain(store, journal, clock, cursors, every_s=60.0)
    drain.start()
    commit(journal, [one(1)])
    wait_for(lambda: values(store) == [1.0], "the reading is in the store")
    assert drain.stop()


def test_the_cursor_is_published_after_the_store_has_it(
    store: Memory, journal: MemoryJournal, cursors: Path
) -> None:
    drain = Drain(store, journal, Clock(), cursors, every_s=AT_ONCE_S)
    drain.step()
    assert read_cursors(cursors) == {}
    commit(journal, [one(1)])
    drain.step()
    assert read_cursors(cursors) == {"drain": Cursor("j", 1)} == {"drain": store.cursor()}


def test_a_batch_without_readings_moves_the_cursor_too(
    store: Memory, journal: MemoryJournal, cursors: Path
) -> None:
    commit(journal, [])
    Drain(store, journal, Clock(), cursors, every_s=AT_ONCE_S).step()
    assert store.cursor() == Cursor("j", 1)


def test_what_the_broker_remembered_is_not_stored(
    store: Memory, journal: MemoryJournal, cursors: Path
) -> None:
    commit(journal, [one(1, int(Flag.RETAINED)), one(2), one(3, int(Flag.LATE))])
    Drain(store, journal, Clock(), cursors, every_s=AT_ONCE_S).step()
    assert values(store) == [2.0, 3.0]


@pytest.mark.parametrize("believed", [Cursor("another", 2), Cursor("j", 99)])
def test_a_cursor_that_is_not_of_this_journal_is_not_believed(
    store: Memory, journal: MemoryJournal, cursors: Path, believed: Cursor
) -> None:
    store.append(Readings.empty(), SeriesTable(), believed)
    for n in range(5):
        commit(journal, [one(n)])
    drain = Drain(store, journal, Clock(), cursors, every_s=AT_ONCE_S)
    drain.step()
    assert values(store) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert drain.status().missing_batches == 0


def test_an_unbelieved_cursor_goes_on_from_the_oldest_batch_that_is_kept(
    store: Memory, journal: MemoryJournal, cursors: Path
) -> None:
    for n in range(40):
        commit(journal, [one(n)])
    journal.release(17)
    drain = Drain(store, journal, Clock(), cursors, every_s=AT_ONCE_S)
    drain.step()
    assert values(store) == [float(n) for n in range(17, 40)]


def test_batches_that_are_gone_are_counted_and_do_not_stop_it(
    store: Memory, journal: MemoryJournal, cursors: Path
) -> None:
    for n in range(10):
        commit(journal, [one(n)])
    store.append(Readings.empty(), SeriesTable(), Cursor("j", 3))
    journal.release(7)
    drain = Drain(store, journal, Clock(), cursors, every_s=AT_ONCE_S)
    drain.step()
    assert values(store) == [7.0, 8.0, 9.0]
    assert drain.status().missing_batches == 4


def test_batches_that_go_while_it_runs_are_counted_too(
    store: Memory, journal: MemoryJournal, cursors: Path
) -> None:
    drain = Drain(store, journal, Clock(), cursors, every_s=AT_ONCE_S)
    drain.step()
    commit(journal, [one(0)])
    drain.step()
    for n in range(1, 10):
        commit(journal, [one(n)])
    journal.release(7)
    drain.step()
    assert "no longer kept" in drain.status().error
    drain.step()
    assert drain.status().error == ""
    assert drain.status().missing_batches == 6
    assert values(store) == [0.0, 7.0, 8.0, 9.0]


def test_a_store_that_is_down_is_told_and_tried_until_it_is_back(
    journal: MemoryJournal, cursors: Path
) -> None:
    store = Trouble(random.Random(1), permanent=True)
    store.down = True
    drain = Drain(
        store,
        journal,
        Clock(),
        cursors,
        every_s=AT_ONCE_S,
        retry_s=lambda failed, permanent: 0.005,
    )
    drain.start()
    commit(journal, [one(1)])
    wait_for(lambda: drain.status().failures >= 3, "three tries")
    status = drain.status()
    assert status.permanent
    assert status.error == "StoreError: no answer from the store"
    assert status.lag_batches >= 0
    assert drain.flush(timeout_s=0.02) is False
    store.down = False
    wait_for(lambda: values(store) == [1.0] and not drain.status().error, "it is back")
    assert drain.stop()


def test_a_long_wait_for_a_store_ends_at_once_when_it_is_stopped(
    journal: MemoryJournal, cursors: Path
) -> None:
    store = Trouble(random.Random(1))
    store.down = True
    drain = Drain(
        store, journal, Clock(), cursors, every_s=AT_ONCE_S, retry_s=lambda failed, permanent: 600
    )
    commit(journal, [one(1)])
    drain.start()
    wait_for(lambda: drain.status().failures == 1, "the first try")
    assert drain.stop()
    assert drain.status().failures == 1


def test_flush_returns_when_all_that_was_committed_is_in_the_store(tmp_path: Path) -> None:
    journal, store = MemoryJournal("j"), open_store(tmp_path / "history")
    drain = Drain(store, journal, Clock(), tmp_path / "cursors", every_s=NEVER_S)
    drain.start()
    for n in range(20):
        commit(journal, [one(2 * n), one(2 * n + 1)])
        assert drain.flush()
        assert len(values(store)) == 2 * n + 2
    status = drain.status()
    assert (status.readings, status.appends, status.batch) == (40, 20, 20)
    assert (status.lag_batches, status.lag_s) == (0, 0.0)
    assert drain.stop()
    store.close()


def test_flush_of_a_drain_that_was_stopped_does_not_wait(
    store: Memory, journal: MemoryJournal, cursors: Path
) -> None:
    drain = Drain(store, journal, Clock(), cursors)
    drain.start()
    assert drain.stop()
    assert drain.flush() is False


def test_the_lag_is_the_age_of_the_oldest_batch_that_waits(
    store: Memory, journal: MemoryJournal, cursors: Path
) -> None:
    drain = Drain(store, journal, Clock(start_us=T0_US + 90_000_000), cursors, every_s=NEVER_S)
    commit(journal, [one(1)])
    commit(journal, [one(2)])
    drain.step()
    assert drain.status().lag_batches == 2
    assert 89.0 <= drain.status().lag_s < 600.0


def test_a_backlog_leaves_time_for_what_is_live(
    store: Memory, journal: MemoryJournal, cursors: Path
) -> None:
    for n in range(300):
        commit(journal, [one(n)])
    drain = Drain(store, journal, Clock(), cursors, every_s=NEVER_S, part_rows=10)
    began_s = time.monotonic()
    wait_s = drain.step()
    assert 0 < wait_s <= time.monotonic() - began_s
    assert drain.status().batch == 100


@given(st.integers(1, 10_000), st.booleans())
def test_a_retry_waits_longer_each_time_and_never_too_long(failed: int, permanent: bool) -> None:
    delay_s = retry_delay_s(failed, permanent)
    middle_s = 300.0 if permanent else min(60.0, 2.0 ** min(failed - 1, 10))
    assert 0.5 * middle_s <= delay_s <= 1.5 * middle_s
