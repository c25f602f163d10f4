"""Reads the parts that a manifest lists, also while the writer replaces them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from ingest import sift
from ingest.manifest import NAME, Manifest, Part, read_manifest
from ingest.parts import Parquet
from ingest.readings import Readings, Series, SeriesTable
from ingest.store import StoreError

SLICE_ROWS = 500_000

TRIES = 5
"""Parts stay for 10 min after they were replaced; nobody is that late so often."""

T = TypeVar("T")


class Follower:
    """The manifest in a folder that another process writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[tuple[int, int, int] | None, Manifest] = (None, Manifest())

    def manifest(self) -> Manifest:
        """The one in force now. Raises StoreError if it is damaged."""
        # the stamp is taken first: what is replaced in between is read again by the next call
        stamp, seen = _stamp(self._folder / NAME), self._seen
        if stamp is not None and stamp == seen[0]:
            return seen[1]
        manifest = read_manifest(self._folder)
        self._seen = (stamp, manifest)
        return manifest


class PartsReader:
    """`manifest` gives the list in force whenever it is asked."""

    def __init__(self, folder: Path, parquet: Parquet, manifest: Callable[[], Manifest]) -> None:
        self._folder = folder
        self._parquet = parquet
        self._manifest = manifest

    def read(self, series: Series, since_us: int, until_us: int) -> Readings:
        """All rows of one series with times in [since, until), in no order, as series 0."""
        return self._try_again(
            partial(self._read, series=series, since_us=since_us, until_us=until_us)
        )

    def scan(self, since_us: int, until_us: int, table: SeriesTable) -> Iterator[Readings]:
        """As the port says. Rows of one arrival are in one slice, if they fit."""
        for first_us, end_us in self._windows(since_us, until_us):
            fetch = partial(self._read_arrived, since_us=first_us, until_us=end_us, table=table)
            rows = self._try_again(fetch)
            ranks = sift.name_ranks(table)
            rows = sift.by_arrival(sift.once(rows, ranks), ranks)
            for start in range(0, len(rows), SLICE_ROWS):
                yield rows.take(slice(start, start + SLICE_ROWS))

    def _windows(self, since_us: int, until_us: int) -> Iterator[tuple[int, int]]:
        """Cuts [since, until) into pieces of arrival with at most SLICE_ROWS rows each (or one
        µs long), oldest first, passing over what has no rows."""
        parts = _arrived(self._manifest().parts, since_us, until_us)
        if not parts:
            return
        since_us = max(since_us, min(part.min_arrival_us for part in parts))
        until_us = min(until_us, max(part.max_arrival_us for part in parts) + 1)
        waiting = [(since_us, until_us)]
        while waiting:
            since_us, until_us = waiting.pop()
            rows = self._try_again(partial(self._count, since_us=since_us, until_us=until_us))
            if rows > SLICE_ROWS and until_us - since_us > 1:
                middle_us = (since_us + until_us) // 2
                waiting += [(middle_us, until_us), (since_us, middle_us)]
            elif rows:
                yield since_us, until_us

    def _try_again(self, fetch: Callable[[Manifest], T]) -> T:
        """A part that was unlinked between manifest and reading has its rows in another one."""
        manifest = self._manifest()
        for _ in range(TRIES):
            try:
                return fetch(manifest)
            except StoreError:
                newer = self._manifest()
                if newer is manifest:
                    raise
                manifest = newer
        return fetch(manifest)

    def _read(self, manifest: Manifest, series: Series, since_us: int, until_us: int) -> Readings:
        parts = [
            part
            for part in manifest.parts
            if part.site == series.site
            and part.min_time_us < until_us
            and part.max_time_us >= since_us
        ]
        return self._parquet.read_series(self._files(parts), series, since_us, until_us)

    def _read_arrived(
        self, manifest: Manifest, since_us: int, until_us: int, table: SeriesTable
    ) -> Readings:
        files = self._files(_arrived(manifest.parts, since_us, until_us))
        return self._parquet.read_arrived(files, since_us, until_us, table)

    def _count(self, manifest: Manifest, since_us: int, until_us: int) -> int:
        """Only what is cut by an end must be looked at; of the rest the manifest knows it."""
        parts = _arrived(manifest.parts, since_us, until_us)
        cut = [
            part
            for part in parts
            if part.min_arrival_us < since_us or part.max_arrival_us >= until_us
        ]
        whole = sum(part.rows for part in parts) - sum(part.rows for part in cut)
        return whole + self._parquet.count_arrived(self._files(cut), since_us, until_us)

    def _files(self, parts: Sequence[Part]) -> list[Path]:
        return [self._folder / part.file for part in parts]


def _arrived(parts: Sequence[Part], since_us: int, until_us: int) -> list[Part]:
    return [
        part for part in parts if part.min_arrival_us < until_us and part.max_arrival_us >= since_us
    ]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:  # reading it says what is wrong
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
