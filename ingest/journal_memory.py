"""A journal that ends with the process: for tests, and for what a file is replayed through."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import islice

from ingest.journal import Batch, JournalError, Quarantined
from ingest.readings import SeriesTable


class MemoryJournal:
    """Writer and reader in one. Keeps the newest `keep` batches, as segments are unlinked too."""

    def __init__(self, id: str = "memory", keep: int = 100_000) -> None:
        self.id = id
        self._keep = keep
        self._lock = threading.Lock()
        self._batches: dict[int, Batch] = {}
        self._table = SeriesTable()
        self._last = 0

    def commit(self, batch: Batch) -> None:
        with self._lock:
            if batch.number != self._last + 1:
                text = f"batch {batch.number} does not follow {self._last}"
                raise JournalError(text, permanent=True)
            for series in batch.inputs.new_series:
                self._table.number(series)
            self._batches[batch.number] = batch
            self._last = batch.number
            while len(self._batches) > self._keep:
                del self._batches[next(iter(self._batches))]

    def release(self, upto: int) -> None:
        """Forgets the batches up to that number."""
        with self._lock:
            for number in [number for number in self._batches if number <= upto]:
                del self._batches[number]

    def last(self) -> int:
        return self._last

    def table(self) -> SeriesTable:
        return self._table

    def read(self, after: int, limit: int = 1_000) -> Sequence[Batch]:
        with self._lock:
            oldest = next(iter(self._batches), self._last + 1)
            if after + 1 < oldest:
                raise LookupError(f"batch {after + 1} is no longer kept; the oldest is {oldest}")
            numbers = range(after + 1, self._last + 1)
            return [self._batches[number] for number in islice(numbers, limit)]

    def quarantined(
        self, limit: int, before: int | None = None
    ) -> Sequence[tuple[int, Quarantined]]:
        with self._lock:
            rows = [row for batch in self._batches.values() for row in batch.quarantined]
        numbered = [(n, row) for n, row in enumerate(rows, 1) if before is None or n < before]
        return numbered[::-1][:limit]

    def close(self) -> None:
        with self._lock:
            self._batches.clear()
