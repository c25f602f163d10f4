"""One segment of the journal: an SQLite file that can be read without any other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from ingest.journal import JournalError, Quarantined
from ingest.readings import Series

FORMAT = 1
SUFFIX = ".db"
UNFINISHED = ".db.unfinished"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE series (
    number INTEGER PRIMARY KEY,
    site TEXT NOT NULL, device TEXT NOT NULL, channel TEXT NOT NULL, metric TEXT NOT NULL
);
CREATE TABLE batch (
    number INTEGER PRIMARY KEY,
    now_us INTEGER NOT NULL,
    series_from INTEGER NOT NULL,
    series_upto INTEGER NOT NULL,
    readings BLOB NOT NULL,
    others BLOB NOT NULL,
    changes BLOB NOT NULL,
    prints BLOB NOT NULL
);
CREATE TABLE alert (
    episode TEXT PRIMARY KEY,
    at_us INTEGER NOT NULL,
    resolved_us INTEGER,
    change BLOB NOT NULL
);
CREATE INDEX alert_newest ON alert (at_us);
CREATE INDEX alert_open ON alert (at_us) WHERE resolved_us IS NULL;
CREATE TABLE latest (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    batch INTEGER NOT NULL,
    readings BLOB NOT NULL
);
CREATE TABLE quarantine (
    number INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL,
    arrival_us INTEGER NOT NULL,
    topic TEXT NOT NULL, principal TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
    payload BLOB NOT NULL,
    size INTEGER NOT NULL
);
CREATE INDEX quarantine_batch ON quarantine (batch);
"""


def segment_path(folder: Path, first: int) -> Path:
    """The file whose first batch is number `first`."""
    return folder / f"{first:012d}{SUFFIX}"


def segments(folder: Path) -> list[tuple[int, Path]]:
    """The finished segments with the number of their first batch, oldest first."""
    return sorted(
        (int(file.stem), file)
        for file in folder.glob(f"*{SUFFIX}")
        if file.stem.isdecimal() and len(file.stem) == 12
    )


def open_for_writing(path: Path) -> sqlite3.Connection:
    """WAL, and a commit returns when it is on disk."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Read-only; sqlite3.OperationalError if the file is gone."""
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def create(connection: sqlite3.Connection, journal: str, ended_us: int) -> None:
    """The empty tables of a segment; `ended_us` is when the segment before it ended."""
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    meta = {"journal": journal, "format": FORMAT, "before_us": ended_us}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())


def meta(connection: sqlite3.Connection, path: Path) -> tuple[str, int]:
    """The journal's id, and when the segment before this one ended."""
    found = dict(connection.execute("SELECT key, value FROM meta"))
    if found.get("format") != FORMAT:
        raise JournalError(
            f"{path} has journal format {found.get('format')}; this version reads {FORMAT}",
            permanent=True,
        )
    return str(found["journal"]), int(found["before_us"])


def insert_series(connection: sqlite3.Connection, first: int, rows: Iterable[Series]) -> None:
    connection.executemany(
        "INSERT INTO series VALUES (?, ?, ?, ?, ?)",
        ((number, *row) for number, row in enumerate(rows, first)),
    )


def read_series(connection: sqlite3.Connection, after: int) -> list[Series]:
    """The series from number `after` on."""
    rows = connection.execute(
        "SELECT site, device, channel, metric FROM series WHERE number >= ? ORDER BY number",
        (after,),
    )
    return [Series(*row) for row in rows]


def insert_quarantined(
    connection: sqlite3.Connection, first: int, batch: int, rows: Iterable[Quarantined]
) -> None:
    connection.executemany(
        "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (number, batch, q.arrival_us, q.topic, q.principal, q.reason, q.detail, q.payload,
             q.size)
            for number, q in enumerate(rows, first)
        ),
    )  # fmt: skip


QUARANTINED = "arrival_us, topic, principal, reason, detail, payload, size"


def last_batch(connection: sqlite3.Connection, first: int) -> tuple[int, int | None]:
    """Number and now_us of the newest batch; of a segment without one, `first` - 1 and None."""
    row = connection.execute(
        "SELECT number, now_us FROM batch ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return (first - 1, None) if row is None else (int(row[0]), int(row[1]))
