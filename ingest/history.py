"""History as people read it: what the store has, and what the journal has since."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ingest import sift
from ingest.journal import JournalReader
from ingest.readings import Readings, Series, SeriesTable
from ingest.store import Buckets, Store
from ingest.tail import HELD_ROWS, Tail

SLICE_ROWS = 500_000


class History:
    """The reading side of a store, complete to the newest committed batch, in any process.

    It asks for the store's cursor first, then for the journal's rows after it, then for the
    store's rows. So what the drain moves meanwhile is seen twice and never missed, and what is
    seen twice counts once. Raises StoreError and JournalError.
    """

    def __init__(self, store: Store, reader: JournalReader, held_rows: int = HELD_ROWS) -> None:
        self._store = store
        self._tail = Tail(reader, held_rows)

    def read(
        self, site: str, device: str, channel: str, metric: str, since_us: int, until_us: int
    ) -> Readings:
        """One series in [since, until), by time; `series` is 0 throughout."""
        rows, upto = self._tail.after(self._store.cursor())
        number = self._tail.table().numbers.get(Series(site, device, channel, metric))
        found = [self._store.read(site, device, channel, metric, since_us, until_us)]
        if number is not None:
            pieces = (rows, *self._tail.beyond(upto))
            found += [_of_series(piece, number, since_us, until_us) for piece in pieces]
        return sift.best(Readings.concat(found))

    def buckets(
        self,
        site: str,
        device: str,
        channel: str,
        metric: str,
        since_us: int,
        until_us: int,
        step_us: int,
    ) -> Buckets:
        """One series in steps from `since_us`, as `ingest.sift.bucketed`."""
        sift.check_step(since_us, until_us, step_us)
        readings = self.read(site, device, channel, metric, since_us, until_us)
        return sift.bucketed(readings, since_us, until_us, step_us)

    def scan(self, since_us: int, until_us: int, table: SeriesTable) -> Iterator[Readings]:
        """Everything that arrived in [since, until), by arrival and then time, numbered by
        `table`, which grows by what it lacked. In slices of at most 500,000 rows."""
        rows, upto = self._tail.after(self._store.cursor())
        tail = self._arrived(rows, since_us, until_us, table)
        ranks = sift.name_ranks(table)
        tail = sift.by_arrival(sift.once(tail, ranks), ranks)
        done = 0
        for piece in self._store.scan(since_us, until_us, table):
            upper = np.searchsorted(tail.arrival_us, piece.arrival_us[-1], side="right")
            yield from _joined([piece, tail.take(slice(done, int(upper)))], table)
            done = int(upper)
        yield from _slices(tail.take(slice(done, None)))
        for piece in self._tail.beyond(upto):
            found = self._arrived(piece, since_us, until_us, table)
            yield from _joined([found], table)

    def _arrived(
        self, rows: Readings, since_us: int, until_us: int, table: SeriesTable
    ) -> Readings:
        """The rows that arrived in [since, until), numbered by `table`."""
        found = rows.take((rows.arrival_us >= since_us) & (rows.arrival_us < until_us))
        theirs = self._tail.table()
        numbers = np.zeros(len(theirs), np.int32)
        for number in np.unique(found.series).tolist():
            numbers[number] = table.number(theirs.rows[number])
        return sift.renumbered(found, numbers)


def _of_series(rows: Readings, number: int, since_us: int, until_us: int) -> Readings:
    inside = (rows.series == number) & (rows.time_us >= since_us) & (rows.time_us < until_us)
    found = rows.take(inside)
    return Readings(
        found.time_us, found.arrival_us, np.zeros_like(found.series), found.value, found.flags
    )


def _joined(parts: list[Readings], table: SeriesTable) -> Iterator[Readings]:
    ranks = sift.name_ranks(table)
    yield from _slices(sift.by_arrival(sift.once(Readings.concat(parts), ranks), ranks))


def _slices(rows: Readings) -> Iterator[Readings]:
    for start in range(0, len(rows), SLICE_ROWS):
        yield rows.take(slice(start, start + SLICE_ROWS))
