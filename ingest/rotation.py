"""Going over to a new segment: at every instant the folder holds a whole journal."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest import segment
from ingest.batch_bytes import encode_prints, encode_readings
from ingest.cursors import sync_folder
from ingest.latest import Latest
from ingest.readings import SeriesTable
from ingest.redelivery import Prints

ALERTS_CARRIED = 10_000
"""Alerts that are over, newest first; open ones are always carried."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What outlives a segment, besides the rows of its `alert` and `quarantine` tables."""

    journal: str
    now_us: int
    table: SeriesTable
    latest: Latest
    prints: Prints
    quarantine_rows: int


def rotate(folder: Path, first: int, carried: Carried, old: Path | None) -> Iterator[str]:
    """Makes the segment whose first batch is `first`, and yields after every step that a kill
    could follow. Only the last but one step, a rename, makes the new segment exist."""
    unfinished = folder / f"{first:012d}{segment.UNFINISHED}"
    unfinished.unlink(missing_ok=True)
    yield "swept"
    _fill(unfinished, first, carried, old)
    yield "filled"
    _sync_file(unfinished)
    yield "synced"
    unfinished.rename(segment.segment_path(folder, first))
    yield "renamed"
    sync_folder(folder)
    yield "done"


def _fill(path: Path, first: int, carried: Carried, old: Path | None) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # nobody knows this file yet: if it is not finished, it is thrown away
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        if old is not None:
            connection.execute("ATTACH ? AS old", (str(old),))
        connection.execute("BEGIN")
        segment.create(connection, carried.journal, carried.now_us)
        segment.insert_series(connection, 0, carried.table.rows)
        _write_latest(connection, first - 1, carried)
        if old is not None:
            _carry(connection, carried.quarantine_rows)
        connection.execute("COMMIT")
    finally:
        connection.close()


def _write_latest(connection: sqlite3.Connection, batch: int, carried: Carried) -> None:
    latest = encode_readings(carried.latest.readings())
    connection.execute("INSERT INTO latest VALUES (1, ?, ?)", (batch, latest))
    prints = encode_prints(carried.prints.all())
    connection.execute("INSERT INTO meta VALUES ('prints', ?)", (prints,))


def _carry(connection: sqlite3.Connection, quarantine_rows: int) -> None:
    connection.execute("INSERT INTO alert SELECT * FROM old.alert WHERE resolved_us IS NULL")
    connection.execute(
        "INSERT INTO alert SELECT * FROM old.alert WHERE resolved_us IS NOT NULL"
        " ORDER BY at_us DESC LIMIT ?",
        (ALERTS_CARRIED,),
    )
    connection.execute(
        "INSERT INTO quarantine SELECT * FROM"
        " (SELECT * FROM old.quarantine ORDER BY number DESC LIMIT ?)",
        (quarantine_rows,),
    )


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
