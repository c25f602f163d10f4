"""History that ends with the process: for tests, and for replay of what came from a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ingest import sift
from ingest.readings import Readings, Series, SeriesTable
from ingest.store import Buckets, Cursor, StoreError

MAX_ROWS = 20_000_000
"""About 520 MB."""

SLICE_ROWS = 500_000


class Memory:
    """All rows in the order in which they were appended, numbered by a table of its own."""

    def __init__(self) -> None:
        self._writing = threading.Lock()
        self._table = SeriesTable()
        self._state: tuple[Readings, Cursor | None] = (Readings.empty(), None)

    def cursor(self) -> Cursor | None:
        return self._state[1]

    def append(self, readings: Readings, table: SeriesTable, cursor: Cursor) -> None:
        with self._writing:
            rows = self._state[0]
            if len(rows) + len(readings) > MAX_ROWS:
                raise StoreError(f"a store in memory takes {MAX_ROWS} rows", permanent=True)
            numbers = np.asarray([self._table.number(row) for row in table.rows], np.int32)
            added = sift.renumbered(readings, numbers) if len(readings) else Readings.empty()
            self._state = (Readings.concat([rows, added]), cursor)

    def read(
        self, site: str, device: str, channel: str, metric: str, since_us: int, until_us: int
    ) -> Readings:
        number = self._table.numbers.get(Series(site, device, channel, metric))
        if number is None:
            return Readings.empty()
        rows = self._state[0]
        inside = (rows.time_us >= since_us) & (rows.time_us < until_us)
        found = sift.best(rows.take(inside & (rows.series == number)))
        return sift.renumbered(found, np.zeros(number + 1, np.int32))

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
        sift.check_step(since_us, until_us, step_us)
        readings = self.read(site, device, channel, metric, since_us, until_us)
        return sift.bucketed(readings, since_us, until_us, step_us)

    def scan(self, since_us: int, until_us: int, table: SeriesTable) -> Iterator[Readings]:
        rows = self._state[0]
        rows = rows.take((rows.arrival_us >= since_us) & (rows.arrival_us < until_us))
        ranks = sift.name_ranks(self._table)
        rows = sift.by_arrival(sift.once(rows, ranks), ranks)
        for start in range(0, len(rows), SLICE_ROWS):
            piece = rows.take(slice(start, start + SLICE_ROWS))
            numbers = np.zeros(len(self._table), np.int32)
            for number in np.unique(piece.series).tolist():
                numbers[number] = table.number(self._table.rows[number])
            yield sift.renumbered(piece, numbers)

    def tidy(self) -> bool:
        return False

    def close(self) -> None:
        with self._writing:
            self._state = (Readings.empty(), None)


def open_store(folder: Path | None = None) -> Memory:
    """`folder` is what a store on disk needs: nothing is kept there."""
    return Memory()
