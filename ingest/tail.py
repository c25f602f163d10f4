"""The journal's tail: what came after a store's cursor, decoded once and held as columns."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from ingest import sift
from ingest.journal import Batch, JournalError, JournalReader
from ingest.readings import Readings, SeriesTable, Times
from ingest.store import Cursor

HELD_ROWS = 2_000_000
"""About 70 MB. A longer tail (a store that was down for hours) is read from disk by every query."""

READ_BATCHES = 100
"""So many batches of at most 5,000 readings are decoded at once: 13 MB."""


def start_after(cursor: Cursor | None, reader: JournalReader) -> tuple[int, int]:
    """After which batch to go on, and how many batches before that are gone for good.

    A cursor of another journal, or past the end of this one, is not believed: then it goes on
    from the oldest batch that is kept, and what comes twice is absorbed by (series, time).
    """
    if cursor is None or cursor.journal != reader.id or cursor.batch > reader.last():
        return _oldest_kept(reader, 0), 0
    after = _oldest_kept(reader, cursor.batch)
    return after, after - cursor.batch


def _oldest_kept(reader: JournalReader, after: int) -> int:
    """The smallest number >= `after` that can be read after, found by halving."""
    if _kept(reader, after):
        return after
    gone, kept = after, reader.last()
    while kept - gone > 1:
        middle = (gone + kept) // 2
        gone, kept = (gone, middle) if _kept(reader, middle) else (middle, kept)
    return kept


def _kept(reader: JournalReader, after: int) -> bool:
    try:
        reader.read(after, 1)
    except LookupError:
        return False
    return True


class Tail:
    """Follows a journal from a store's cursor on. May be used by several threads."""

    def __init__(self, reader: JournalReader, held_rows: int = HELD_ROWS) -> None:
        self._reader = reader
        self._held_rows = held_rows
        self._lock = threading.Lock()
        self._begun = False
        self._cursor: Cursor | None = None
        # the rows are those of the batches after `_from`, up to and with `_upto`
        self._from = self._upto = 0
        self._rows = Readings.empty()
        self._batch_of: Times = np.empty(0, np.int64)

    def after(self, cursor: Cursor | None) -> tuple[Readings, int]:
        """The rows after a cursor, in the order of the journal, as many as may be held, and the
        last batch that they are from; the rest is `beyond` it. Raises JournalError."""
        with self._lock:
            self._move_to(cursor)
            self._grow()
            return self._rows, self._upto

    def beyond(self, after: int) -> Iterator[Readings]:
        """What the journal has after a batch, a piece at a time. Raises JournalError."""
        try:
            while batches := self._reader.read(after, READ_BATCHES):
                yield _readings(batches)
                after = batches[-1].number
        except LookupError as error:
            raise JournalError(f"the journal was cut while it was read: {error}") from error

    def table(self) -> SeriesTable:
        """How the rows are numbered."""
        return self._reader.table()

    def _move_to(self, cursor: Cursor | None) -> None:
        """Lets go of what the store has by now; begins anew where that is no step forward."""
        if self._begun and cursor == self._cursor:
            return
        after, _ = start_after(cursor, self._reader)
        if self._begun and self._from <= after <= self._upto:
            first = int(np.searchsorted(self._batch_of, after, side="right"))
            self._rows = self._rows.take(slice(first, None))
            self._batch_of = self._batch_of[first:]
            self._from = after
        else:
            self._restart(after)
        self._begun, self._cursor = True, cursor

    def _restart(self, after: int) -> None:
        self._from = self._upto = after
        self._rows = Readings.empty()
        self._batch_of = np.empty(0, np.int64)

    def _grow(self) -> None:
        found, numbers, rows = [self._rows], [self._batch_of], len(self._rows)
        upto = self._upto
        while rows < self._held_rows:
            try:
                batches = self._reader.read(upto, READ_BATCHES)
            except LookupError:  # nobody asked for so long that the journal has moved on
                self._begun = False
                self._move_to(self._cursor)
                found, numbers, rows, upto = [], [], 0, self._upto
                continue
            if not batches:
                break
            more = [sift.kept(batch.inputs.readings) for batch in batches]
            found += more
            numbers += [
                np.full(len(part), batch.number, np.int64)
                for part, batch in zip(more, batches, strict=True)
            ]
            rows += sum(len(part) for part in more)
            upto = batches[-1].number
        if upto != self._upto:
            self._rows, self._batch_of = Readings.concat(found), np.concatenate(numbers)
            self._upto = upto


def _readings(batches: Sequence[Batch]) -> Readings:
    return Readings.concat([sift.kept(batch.inputs.readings) for batch in batches])
