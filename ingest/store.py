"""PORT: history. Readings by series and time; the same series and time is one reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ingest.readings import Numbers, Readings, SeriesTable, Times


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to which batch of which journal a store has everything, synced."""

    journal: str
    batch: int


@dataclass(frozen=True, slots=True)
class Buckets:
    """A series in equal steps of time: `n` columns, NaN where a bucket has no reading."""

    start_us: Times
    mean: Numbers
    low: Numbers
    high: Numbers
    count: Times


class StoreError(Exception):
    """A store that could not take or give; `permanent` if trying again cannot help."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class Store(Protocol):
    """Of one series and time the best quality counts (flags & BAD), then the latest arrival.
    Methods raise StoreError; safe to read from several threads."""

    def cursor(self) -> Cursor | None: ...

    def append(self, readings: Readings, table: SeriesTable, cursor: Cursor) -> None:
        """Returns when the readings and the cursor are on disk together. After a StoreError
        `cursor()` tells whether they are."""
        ...

    def read(
        self, site: str, device: str, channel: str, metric: str, since_us: int, until_us: int
    ) -> Readings:
        """One series in [since, until), by time; `series` is 0 throughout."""
        ...

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
        """One series in steps from `since_us`, as `ingest.sift.bucketed`: without BAD readings.
        ValueError: a step that is not above 0, or more than 100,000 of them."""
        ...

    def scan(self, since_us: int, until_us: int, table: SeriesTable) -> Iterator[Readings]:
        """Everything that arrived in [since, until), by arrival and then time, numbered by
        `table`, which grows by what it lacked. In slices of at most 500,000 rows. What a later
        arrival has replaced is there as well, where the store keeps it: so it was live."""
        ...

    def tidy(self) -> bool:
        """One bounded piece of upkeep (merging, unlinking), called now and then by the one who
        appends; True if there may be more of it. Changes nothing that can be read."""
        ...

    def close(self) -> None: ...
