"""Reads the journal's segments while another process writes them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ingest import segment
from ingest.batch_bytes import (
    decode_change,
    decode_changes,
    decode_others,
    decode_prints,
    decode_readings,
)
from ingest.changes import Change
from ingest.inputs import Inputs
from ingest.journal import Batch, JournalError, Quarantined
from ingest.readings import Readings, SeriesTable

T = TypeVar("T")

_OPEN_FILES = 3
_ATTEMPTS = 3
"""A segment can be unlinked between the look into the folder and the opening of the file."""


class AlertRow(NamedTuple):
    """An alert as it stands: its newest change, and when it was over."""

    change: Change
    resolved_us: int | None


class SegmentReader:
    """Short read transactions on read-only connections. One lock: several threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._connections: dict[Path, sqlite3.Connection] = {}
        self._table = SeriesTable()
        self.id = self._newest(lambda connection, path, first: segment.meta(connection, path)[0])

    def last(self) -> int:
        """The newest batch number, 0 for an empty journal."""
        return self._newest(lambda connection, _, first: segment.last_batch(connection, first)[0])

    def table(self) -> SeriesTable:
        """All series so far. The same table is returned, grown, by later calls."""
        return self._newest(lambda connection, _, first: self._grown(connection))

    def read(self, after: int, limit: int = 1_000) -> Sequence[Batch]:
        """The batches after number `after`, oldest first. LookupError: they are no longer kept."""
        batches: list[Batch] = []
        while len(batches) < limit:
            more, ended = self._retried(lambda: self._read(after, limit - len(batches)))  # noqa: B023  # called at once
            batches += more
            after += len(more)
            if ended:
                break
        return batches

    def alerts(self, limit: int, open_only: bool = False) -> Sequence[AlertRow]:
        """The newest alerts, open or not, by their newest change; they outlive their batches."""
        where = "WHERE resolved_us IS NULL" if open_only else ""
        rows = self._rows(
            f"SELECT change, resolved_us FROM alert {where} ORDER BY at_us DESC, episode LIMIT ?",
            (limit,),
        )
        return [AlertRow(decode_change(change), resolved_us) for change, resolved_us in rows]

    def latest(self) -> tuple[int, Readings]:
        """The newest fresh reading of each series as of a batch, and that batch's number."""
        rows = self._rows("SELECT batch, readings FROM latest", ())
        batch, readings = rows[0]
        return int(batch), decode_readings(readings)

    def quarantined(
        self, limit: int, before: int | None = None
    ) -> Sequence[tuple[int, Quarantined]]:
        """The newest quarantined messages with their numbers, newest first."""
        rows = self._rows(
            f"SELECT number, {segment.QUARANTINED} FROM quarantine"
            " WHERE number < ? ORDER BY number DESC LIMIT ?",
            (2**62 if before is None else before, limit),
        )
        return [(number, Quarantined(*row)) for number, *row in rows]

    def close(self) -> None:
        with self._lock:
            self._close_all()

    def _close_all(self) -> None:
        while self._connections:
            self._connections.popitem()[1].close()

    def _rows(self, statement: str, values: tuple[int, ...]) -> list[tuple[Any, ...]]:
        return self._newest(
            lambda connection, path, first: connection.execute(statement, values).fetchall()
        )

    def _newest(self, ask: Callable[[sqlite3.Connection, Path, int], T]) -> T:
        def once() -> T:
            found = segment.segments(self._folder)
            if not found:
                raise JournalError(f"{self._folder} holds no journal; watch writes one there")
            first, path = found[-1]
            return ask(self._connection(path), path, first)

        return self._retried(once)

    def _read(self, after: int, limit: int) -> tuple[list[Batch], bool]:
        """Batches of one segment, and whether there are none after them."""
        found = segment.segments(self._folder)
        holding = [row for row, (first, _) in enumerate(found) if first <= after + 1]
        if not holding:
            if not found:
                return [], True
            raise LookupError(
                f"batch {after + 1} is no longer kept; the oldest in {self._folder} is "
                f"{found[0][0]}"
            )
        row = holding[-1]
        return self._batches(self._connection(found[row][1]), after, limit), row == len(found) - 1

    def _batches(self, connection: sqlite3.Connection, after: int, limit: int) -> list[Batch]:
        connection.execute("BEGIN")
        try:
            rows = connection.execute(
                "SELECT * FROM batch WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
            ).fetchall()
            kept = self._quarantined_of(connection, rows)
            table = self._grown(connection)
        finally:
            connection.execute("ROLLBACK")
        return [_batch(row, table, kept.get(row[0], [])) for row in rows]

    def _quarantined_of(
        self, connection: sqlite3.Connection, rows: list[tuple[Any, ...]]
    ) -> dict[int, list[Quarantined]]:
        kept: dict[int, list[Quarantined]] = {}
        if rows:
            found = connection.execute(
                f"SELECT batch, {segment.QUARANTINED} FROM quarantine"
                " WHERE batch BETWEEN ? AND ? ORDER BY number",
                (rows[0][0], rows[-1][0]),
            )
            for batch, *row in found:
                kept.setdefault(batch, []).append(Quarantined(*row))
        return kept

    def _grown(self, connection: sqlite3.Connection) -> SeriesTable:
        for series in segment.read_series(connection, len(self._table)):
            self._table.number(series)
        return self._table

    def _connection(self, path: Path) -> sqlite3.Connection:
        known = self._connections.pop(path, None)
        if known is None:
            known = segment.open_for_reading(path)
            while len(self._connections) >= _OPEN_FILES:
                self._connections.pop(next(iter(self._connections))).close()
        self._connections[path] = known
        return known

    def _retried(self, ask: Callable[[], T]) -> T:
        with self._lock:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return ask()
                except sqlite3.Error as error:
                    self._close_all()
                    if attempt == _ATTEMPTS:
                        raise JournalError(f"cannot read {self._folder}: {error}") from error
        raise AssertionError("unreachable: the last attempt returns or raises")


def _batch(row: tuple[Any, ...], table: SeriesTable, quarantined: list[Quarantined]) -> Batch:
    number, now_us, series_from, series_upto, readings, others, changes, prints = row
    events, presences, controls = decode_others(others)
    inputs = Inputs(
        decode_readings(readings),
        events,
        presences,
        controls,
        tuple(table.rows[series_from:series_upto]),
    )
    return Batch(
        number,
        now_us,
        inputs,
        decode_changes(changes),
        decode_prints(prints),
        tuple(quarantined),
    )
