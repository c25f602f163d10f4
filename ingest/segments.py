"""The journal as SQLite files, a segment each: written here, by one process alone."""

from __future__ import annotations

import fcntl
import sqlite3
import time
import uuid
from collections.abc import Sequence
from io import BufferedRandom
from itertools import pairwise
from pathlib import Path

from ingest import segment
from ingest.batch_bytes import (
    BatchBytes,
    decode_prints,
    decode_readings,
    encode,
    encode_change,
    encode_readings,
)
from ingest.changes import Change
from ingest.clock import US_PER_S
from ingest.journal import Batch, JournalError
from ingest.latest import Latest
from ingest.readings import SeriesTable
from ingest.redelivery import Prints
from ingest.rotation import Carried, rotate
from ingest.segment_reader import AlertRow, SegmentReader

__all__ = ["AlertRow", "SegmentReader", "SegmentWriter", "open_reader", "open_writer"]

LATEST_EVERY_S = 10.0
"""The snapshot of the newest readings is at most this old, so that a reader starts quickly."""


def open_reader(folder: Path) -> SegmentReader:
    """Raises JournalError if no journal has ever been written there."""
    return SegmentReader(folder)


def open_writer(
    folder: Path,
    *,
    segment_seconds: float = 3_600,
    segment_bytes: int = 256_000_000,
    keep_seconds: float = 86_400,
    quarantine_rows: int = 10_000,
) -> SegmentWriter:
    """Goes on behind the last committed batch, or starts an empty journal. Raises JournalError,
    permanent where another process writes this journal or its format is not ours."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = _locked(folder)
    try:
        return SegmentWriter(
            folder, lock, segment_seconds, segment_bytes, keep_seconds, quarantine_rows
        )
    except BaseException:
        lock.close()
        raise


def _locked(folder: Path) -> BufferedRandom:
    stream = (folder / "writer.lock").open("a+b")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        stream.close()
        raise JournalError(
            f"{folder} is being written by another process; stop that one first", permanent=True
        ) from error
    return stream


class SegmentWriter:
    """One transaction a batch. `now_us` and `last` are those of the newest committed batch;
    `prints` are those by which a redelivered message is known again."""

    id: str
    table: SeriesTable
    last: int
    now_us: int
    prints: Prints

    _first: int
    _stored: int
    _quarantined: int
    _bytes: int
    _since_us: int | None
    _snapshot_s: float
    _latest: Latest
    _ended: dict[int, int]

    def __init__(
        self,
        folder: Path,
        lock: BufferedRandom,
        segment_seconds: float,
        segment_bytes: int,
        keep_seconds: float,
        quarantine_rows: int,
    ) -> None:
        self._folder = folder
        self._lock = lock
        self._segment_us = int(segment_seconds * US_PER_S)
        self._segment_bytes = segment_bytes
        self._keep_us = int(keep_seconds * US_PER_S)
        self._quarantine_rows = quarantine_rows
        self._sweep()
        if not segment.segments(folder):
            fresh = Carried(uuid.uuid4().hex, 0, SeriesTable(), Latest(), Prints(), quarantine_rows)
            self._rotated(1, fresh, None)
        self._first, path = segment.segments(folder)[-1]
        self._connection = segment.open_for_writing(path)
        try:
            self._recover(path)
        except sqlite3.Error as error:
            self._connection.close()
            raise JournalError(f"cannot open {path}: {error}", permanent=True) from error
        except BaseException:
            self._connection.close()
            raise

    def commit(self, batch: Batch) -> None:
        """Returns when the batch is on disk; raises JournalError with nothing of it written."""
        if batch.number != self.last + 1:
            raise ValueError(f"batch {batch.number} cannot follow batch {self.last}")
        self._check_series(batch)
        data = encode(batch.inputs, batch.changes, batch.prints)
        if self._is_full(batch.now_us):
            self._go_over()
        snapshot_due = time.monotonic() - self._snapshot_s >= LATEST_EVERY_S
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._insert(batch, data)
            if snapshot_due:
                self._insert_latest()
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise JournalError(
                f"batch {batch.number} could not be written to {self._folder}: {error}"
            ) from error
        if snapshot_due:
            self._snapshot_s = time.monotonic()
        self._remember(batch, data)

    def release(self, upto: int) -> None:
        """Unlinks segments whose every batch is <= `upto`, and that are old enough."""
        found = segment.segments(self._folder)
        for (_, path), (after, _) in pairwise(found):
            old = self.now_us - self._ended_us(after) >= self._keep_us
            if after - 1 > upto or not old:
                return
            _unlink(path)
            self._ended.pop(after, None)

    def close(self) -> None:
        self._connection.close()
        self._lock.close()

    # how a batch is written

    def _check_series(self, batch: Batch) -> None:
        new = batch.inputs.new_series
        for series in new:
            self.table.number(series)
        if tuple(self.table.rows[self._stored :]) != new:
            raise ValueError(
                f"batch {batch.number} brings {len(new)} new series where "
                f"{len(self.table) - self._stored} were numbered since batch {self.last}"
            )

    def _insert(self, batch: Batch, data: BatchBytes) -> None:
        stored, upto = self._stored, len(self.table)
        execute = self._connection.execute
        execute(
            "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (batch.number, batch.now_us, stored, upto, *data),
        )
        if upto > stored:
            segment.insert_series(self._connection, stored, batch.inputs.new_series)
        if batch.changes:
            self._insert_alerts(batch.changes)
        if batch.quarantined:
            segment.insert_quarantined(
                self._connection, self._quarantined + 1, batch.number, batch.quarantined
            )
            newest = self._quarantined + len(batch.quarantined)
            oldest = newest - self._quarantine_rows
            execute("DELETE FROM quarantine WHERE number <= ?", (oldest,))

    def _insert_alerts(self, changes: Sequence[Change]) -> None:
        self._connection.executemany(
            "INSERT INTO alert VALUES (?, ?, ?, ?) ON CONFLICT (episode) DO UPDATE SET"
            " at_us = excluded.at_us, resolved_us = excluded.resolved_us, change = excluded.change",
            (
                (
                    change.episode,
                    change.at_us,
                    change.at_us if change.state == "resolved" else None,
                    encode_change(change),
                )
                for change in changes
            ),
        )

    def _insert_latest(self) -> None:
        """As of the batch before the one that is being written."""
        self._connection.execute(
            "UPDATE latest SET batch = ?, readings = ?",
            (self.last, encode_readings(self._latest.readings())),
        )

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise JournalError(f"cannot roll back in {self._folder}: {error}") from error

    def _remember(self, batch: Batch, data: BatchBytes) -> None:
        self.last, self.now_us = batch.number, batch.now_us
        self._stored = len(self.table)
        self._quarantined += len(batch.quarantined)
        self._bytes += sum(map(len, data)) + sum(len(q.payload) for q in batch.quarantined)
        if self._since_us is None:
            self._since_us = batch.now_us
        self._latest.take_in(batch.inputs.readings)
        self.prints.add(batch.prints)

    # how segments follow one another

    def _is_full(self, now_us: int) -> bool:
        if self._since_us is None:
            return False
        return now_us - self._since_us >= self._segment_us or self._bytes >= self._segment_bytes

    def _go_over(self) -> None:
        old = segment.segment_path(self._folder, self._first)
        stored = SeriesTable.of(self.table.rows[: self._stored])
        carried = Carried(
            self.id, self.now_us, stored, self._latest, self.prints, self._quarantine_rows
        )
        self._rotated(self.last + 1, carried, old)
        self._connection.close()
        self._first = self.last + 1
        self._ended[self._first] = self.now_us
        self._connection = segment.open_for_writing(segment.segment_path(self._folder, self._first))
        self._since_us, self._bytes = None, 0

    def _rotated(self, first: int, carried: Carried, old: Path | None) -> None:
        try:
            for _ in rotate(self._folder, first, carried, old):
                pass
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"cannot start a segment in {self._folder}: {error}") from error

    def _ended_us(self, after: int) -> int:
        """When the segment ended that is followed by the one whose first batch is `after`."""
        if after not in self._ended:
            path = segment.segment_path(self._folder, after)
            connection = segment.open_for_reading(path)
            try:
                self._ended[after] = segment.meta(connection, path)[1]
            finally:
                connection.close()
        return self._ended[after]

    # how a start finds where the last run ended

    def _sweep(self) -> None:
        """What a kill during a rotation or a release left behind."""
        for file in self._folder.glob(f"*{segment.UNFINISHED}*"):
            file.unlink()
        for suffix in ("-wal", "-shm"):
            for file in self._folder.glob(f"*{segment.SUFFIX}{suffix}"):
                if not file.with_name(file.name.removesuffix(suffix)).exists():
                    file.unlink()

    def _recover(self, path: Path) -> None:
        connection = self._connection
        self.id, before_us = segment.meta(connection, path)
        self.table = SeriesTable.of(segment.read_series(connection, 0))
        self._stored = len(self.table)
        self.last, now_us = segment.last_batch(connection, self._first)
        self.now_us = before_us if now_us is None else now_us
        (since_us,) = connection.execute("SELECT min(now_us) FROM batch").fetchone()
        self._since_us = since_us
        (kept,) = connection.execute(
            "SELECT total(length(readings) + length(others) + length(changes) + length(prints))"
            " FROM batch"
        ).fetchone()
        self._bytes = int(kept)
        (quarantined,) = connection.execute("SELECT max(number) FROM quarantine").fetchone()
        self._quarantined = quarantined or 0
        self._ended = {self._first: before_us}
        self._recover_prints()
        self._recover_latest()

    def _recover_prints(self) -> None:
        self.prints = Prints()
        execute = self._connection.execute
        (carried,) = execute("SELECT value FROM meta WHERE key = 'prints'").fetchone()
        self.prints.add(decode_prints(carried))
        for (prints,) in execute("SELECT prints FROM batch ORDER BY number"):
            self.prints.add(decode_prints(prints))

    def _recover_latest(self) -> None:
        execute = self._connection.execute
        batch, readings = execute("SELECT batch, readings FROM latest").fetchone()
        self._latest = Latest(decode_readings(readings))
        for (more,) in execute(
            "SELECT readings FROM batch WHERE number > ? ORDER BY number", (batch,)
        ):
            self._latest.take_in(decode_readings(more))
        self._snapshot_s = time.monotonic()


def _unlink(path: Path) -> None:
    """The segment first: without it the files beside it mean nothing, and are swept."""
    for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        file.unlink(missing_ok=True)
