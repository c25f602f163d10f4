"""History without a server: Parquet parts in a folder, and a manifest that says which count."""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from ingest import sift
from ingest.clock import US_PER_S
from ingest.cursors import sync_folder
from ingest.manifest import (
    NAME,
    Manifest,
    Part,
    Replaced,
    read_manifest,
    sync_file,
    write_manifest,
)
from ingest.merging import parts_to_merge
from ingest.parts import Parquet
from ingest.parts_reader import Follower, PartsReader
from ingest.readings import Readings, Series, SeriesTable
from ingest.store import Buckets, Cursor, StoreError

KEEP_REPLACED_US = 600 * US_PER_S
"""Readers in other processes may hold a manifest of this age."""

EVER_US = (-(2**63), 2**63 - 1)

_OURS = ("*.parquet", "*.tmp")


class Embedded:
    """Any number of processes read; the first that appends or tidies holds a lock on the folder
    from then on, and is the only one that may."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parquet = Parquet()
        self._follower = Follower(folder)
        self._reader = PartsReader(folder, self._parquet, self._in_force)
        self._writing = threading.Lock()
        self._lock_file: int | None = None
        # None: nothing was written yet, or a step failed, and only the disk knows how it ended
        self._manifest: Manifest | None = None

    def cursor(self) -> Cursor | None:
        return self._in_force().cursor

    def append(self, readings: Readings, table: SeriesTable, cursor: Cursor) -> None:
        with self._step() as before:
            parts: list[Part] = []
            for site, day, rows in sift.by_site_and_day(readings, table):
                number = before.next + len(parts)
                parts.append(self._write_part(number, site, day, 0, rows, table))
            self._replace(before, cursor, parts, ())

    def read(
        self, site: str, device: str, channel: str, metric: str, since_us: int, until_us: int
    ) -> Readings:
        found = self._reader.read(Series(site, device, channel, metric), since_us, until_us)
        return sift.best(found)

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
        return self._reader.scan(since_us, until_us, table)

    def tidy(self) -> bool:
        with self._step() as before:
            self._unlink_replaced(before)
        with self._step() as before:
            return self._merge(before)

    def close(self) -> None:
        self._parquet.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _in_force(self) -> Manifest:
        return self._manifest or self._follower.manifest()

    @contextmanager
    def _step(self) -> Iterator[Manifest]:
        """From the manifest that is on disk to the next one, one writer at a time."""
        with self._writing:
            try:
                yield self._manifest or self._begun()
            except (OSError, StoreError) as error:
                self._manifest = None
                if isinstance(error, StoreError):
                    raise
                raise StoreError(f"history in {self._folder}: {error}") from error

    def _begun(self) -> Manifest:
        if self._lock_file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = _locked(self._folder / "writer.lock")
        manifest = self._swept(read_manifest(self._folder))
        # from now on a folder without a manifest is a damaged one
        write_manifest(self._folder, manifest)
        self._manifest = manifest
        return manifest

    def _swept(self, manifest: Manifest) -> Manifest:
        """The same; every part that it names is there, and what a crash has left behind is not."""
        there = {file.name for pattern in _OURS for file in self._folder.glob(pattern)}
        named = {part.file for part in manifest.parts}
        for missing in sorted(named - there):
            text = f"{self._folder / missing} is missing, but {NAME} names it"
            raise StoreError(f"{text}: put back a copy of the folder", permanent=True)
        for left in there - named - {replaced.file for replaced in manifest.replaced}:
            (self._folder / left).unlink()
        return manifest

    def _write_part(
        self, number: int, site: str, day: int, level: int, rows: Readings, table: SeriesTable
    ) -> Part:
        """Not a part of history before the manifest says so."""
        name = _file_name(number, site, day)
        fresh = self._folder / f"{name}.tmp"
        self._parquet.write(fresh, rows, table)
        sync_file(fresh)
        size = fresh.stat().st_size
        fresh.replace(self._folder / name)
        sync_folder(self._folder)
        return Part(
            file=name,
            site=site,
            day=day,
            level=level,
            rows=len(rows),
            bytes=size,
            min_time_us=int(rows.time_us.min()),
            max_time_us=int(rows.time_us.max()),
            min_arrival_us=int(rows.arrival_us.min()),
            max_arrival_us=int(rows.arrival_us.max()),
        )

    def _replace(
        self,
        before: Manifest,
        cursor: Cursor | None,
        added: Sequence[Part],
        removed: Sequence[Part],
    ) -> None:
        gone = {part.file for part in removed}
        now_us = _wall_us()
        after = Manifest(
            cursor=cursor,
            next=before.next + len(added),
            parts=(*(part for part in before.parts if part.file not in gone), *added),
            replaced=(*before.replaced, *(Replaced(file, now_us) for file in sorted(gone))),
        )
        write_manifest(self._folder, after)
        self._manifest = after

    def _merge(self, before: Manifest) -> bool:
        chosen = parts_to_merge(before.parts)
        if not chosen:
            return False
        table = SeriesTable()
        files = [self._folder / part.file for part in chosen]
        rows = self._parquet.read_arrived(files, EVER_US[0], EVER_US[1], table)
        rows = sift.once(rows, sift.name_ranks(table))
        level = max(part.level for part in chosen) + 1
        made = self._write_part(before.next, chosen[0].site, chosen[0].day, level, rows, table)
        self._replace(before, before.cursor, [made], chosen)
        return True

    def _unlink_replaced(self, before: Manifest) -> None:
        now_us = _wall_us()
        # a wall clock that was set back must not keep them for ever
        old = [r for r in before.replaced if abs(now_us - r.at_us) >= KEEP_REPLACED_US]
        if not old:
            return
        for replaced in old:
            (self._folder / replaced.file).unlink(missing_ok=True)
        after = Manifest(
            cursor=before.cursor,
            next=before.next,
            parts=before.parts,
            replaced=tuple(r for r in before.replaced if r not in old),
        )
        write_manifest(self._folder, after)
        self._manifest = after


def open_store(folder: Path) -> Embedded:
    """For reading at once, also before there is anything, and for writing from the first append
    on. Opens nothing yet: what is wrong with the folder is told by the first call."""
    return Embedded(folder)


_DAY_0 = date(1970, 1, 1).toordinal()


def _file_name(number: int, site: str, day: int) -> str:
    """For people who look into the folder; the manifest is what counts."""
    try:
        said = date.fromordinal(_DAY_0 + day).isoformat()
    except (ValueError, OverflowError):
        said = f"day{day}"
    return f"{said}_{re.sub('[^A-Za-z0-9-]', '_', site)[:40]}_{number:08d}.parquet"


def _locked(file: Path) -> int:
    opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(opened)
        text = f"{file.parent} is written by another process: stop it, or use another data_dir"
        raise StoreError(text, permanent=True) from None
    return opened


def _wall_us() -> int:
    return time.time_ns() // 1_000
