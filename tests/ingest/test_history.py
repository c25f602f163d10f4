"""History = parts and tail: the same answer wherever the drain is, in any process."""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import history as history_module
from ingest import merging
from ingest.clock import Clock
from ingest.drain import Drain
from ingest.history import History
from ingest.journal import Batch
from ingest.journal_memory import MemoryJournal
from ingest.readings import Flag, Readings, SeriesTable
from ingest.store import Cursor, StoreError
from ingest.stores import embedded
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
    plain,
    some_appends,
)
from tests.ingest.test_drain import commit, one

READ_AT = st.lists(st.sampled_from(["commit", "drain", "read"]), max_size=25)


@settings(max_examples=40, deadline=None)
@given(some_appends(), READ_AT, st.integers(1, 40), st.booleans())
def test_history_equals_a_dict_wherever_the_drain_is(
    batches: list[list[Row]], steps: list[str], held_rows: int, retained: bool
) -> None:
    journal, store = MemoryJournal("j"), Memory()
    history = History(store, journal, held_rows)
    with tempfile.TemporaryDirectory() as name:
        drain = Drain(store, journal, Clock(), Path(name), every_s=0.0)
        committed: list[Row] = []
        waiting = list(batches)
        for step in steps:
            if step == "commit" and waiting:
                rows = waiting.pop(0)
                more = [one(3, int(Flag.RETAINED))] if retained else []
                commit(journal, rows + more)
                committed += rows
            elif step == "drain":
                drain.step()
            else:
                check_equals_model(history, committed, T0_US - 2 * DAY_US, T0_US + DAY_US)
        check_equals_model(history, committed, T0_US - 50_000_000, T0_US + 70_000_000)


def test_it_is_complete_while_the_drain_works_in_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MANY", 2)
    monkeypatch.setattr(embedded, "KEEP_REPLACED_US", 0)
    journal, store = MemoryJournal("j"), open_store(tmp_path / "history")
    theirs = open_store(tmp_path / "history")  # as another process has it
    history = History(theirs, journal)
    drain = Drain(store, journal, Clock(), tmp_path / "cursors", every_s=0.0)
    drain.start()
    ended = threading.Event()

    def write() -> None:
        for n in range(1_500):
            commit(journal, [one(n)])
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not ended.is_set():
        before = journal.last()
        found = history.read(*SERIES[0], *EVER).value.tolist()
        assert found == [float(n) for n in range(len(found))]
        assert len(found) >= before
        before = journal.last()
        scanned = Readings.concat(list(history.scan(*EVER, SeriesTable()))).value.tolist()
        assert scanned == [float(n) for n in range(len(scanned))]
        assert len(scanned) >= before
    thread.join()
    assert drain.flush()
    assert drain.stop()
    assert len(history.read(*SERIES[0], *EVER)) == 1_500
    store.close()
    theirs.close()


class Counting(MemoryJournal):
    """Counts the batches that are read from it."""

    given = 0

    def read(self, after: int, limit: int = 1_000) -> Sequence[Batch]:
        found = super().read(after, limit)
        self.given += len(found)
        return found


def test_the_tail_is_decoded_once() -> None:
    journal, store = Counting("j"), Memory()
    history = History(store, journal)
    for n in range(500):
        commit(journal, [one(n)])
    for _ in range(5):
        assert len(history.read(*SERIES[0], *EVER)) == 500
    assert journal.given <= 501
    store.append(Readings.empty(), SeriesTable(), Cursor("j", 400))
    assert len(history.read(*SERIES[0], *EVER)) == 100
    assert journal.given <= 503


def test_a_long_tail_is_read_in_pieces_and_not_held() -> None:
    journal, store = MemoryJournal("j"), Memory()
    history = History(store, journal, held_rows=10)
    for n in range(1_000):
        commit(journal, [one(n)])
    assert len(history.read(*SERIES[0], *EVER)) == 1_000
    assert len(history._tail._rows) <= 100
    table = SeriesTable()
    found = [row for piece in history.scan(*EVER, table) for row in plain(piece, table)]
    assert [row.value for row in found] == [float(n) for n in range(1_000)]


def test_a_journal_that_moved_on_while_nobody_asked_is_caught_up_with() -> None:
    journal, store = MemoryJournal("j"), Memory()
    history = History(store, journal)
    for n in range(10):
        commit(journal, [one(n)])
    assert len(history.read(*SERIES[0], *EVER)) == 10
    for n in range(10, 30):
        commit(journal, [one(n)])
    journal.release(20)
    assert len(history.read(*SERIES[0], *EVER)) == 10


def test_the_store_of_another_journal_is_joined_with_all_of_this_one() -> None:
    journal, store = MemoryJournal("j"), Memory()
    table = SeriesTable()
    store.append(columns([one(0), one(1)], table), table, Cursor("before", 70))
    history = History(store, journal)
    for n in range(1, 4):
        commit(journal, [one(n)])
    for _ in range(2):
        assert history.read(*SERIES[0], *EVER).value.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_late_reading_corrects_history() -> None:
    journal, store = MemoryJournal("j"), Memory()
    history = History(store, journal)
    commit(journal, [one(5)])
    store.append(columns([one(5)], journal.table()), journal.table(), Cursor("j", 1))
    commit(journal, [one(1, int(Flag.LATE)), one(5)._replace(value=7.5, arrival_us=T0_US + 10**9)])
    assert history.read(*SERIES[0], *EVER).value.tolist() == [1.0, 7.5]


def test_a_series_that_nobody_has_is_empty_and_not_an_error() -> None:
    history = History(Memory(), MemoryJournal("j"))
    assert len(history.read("s", "d", "c", "m", *EVER)) == 0
    assert history.buckets("s", "d", "c", "m", 0, 60, 20).count.tolist() == [0, 0, 0]
    assert list(history.scan(*EVER, SeriesTable())) == []


def test_a_damaged_store_is_told_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    store = open_store(tmp_path)
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        History(store, MemoryJournal("j")).read(*SERIES[0], *EVER)
    store.close()


def test_a_scan_over_parts_and_tail_is_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "SLICE_ROWS", 7)
    journal, store = MemoryJournal("j"), Memory()
    for n in range(40):
        commit(journal, [one(n)])
    store.append(
        columns([one(n) for n in range(25)], journal.table()), journal.table(), Cursor("j", 20)
    )
    table = SeriesTable()
    slices = list(History(store, journal).scan(*EVER, table))
    assert max(len(piece) for piece in slices) <= 7
    found = itertools.chain.from_iterable(plain(piece, table) for piece in slices)
    assert [row.value for row in found] == [float(n) for n in range(40)]
