"""Recordings to replay: a long CSV or Parquet file, one reading a row."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np

from ingest.clock import US_PER_S, parse_us
from ingest.metrics import CATALOGUE, Metric, state_number
from ingest.readings import Readings, Series, SeriesTable
from ingest.registry import device_type
from ingest.shelf import nearest, shelf_words

COLUMNS = ("time", "device", "type", "channel", "metric", "value")
OPTIONAL = ("site",)
NAME_MAX = 256

_FIRST_US = 0
_LAST_US = 4_102_444_800 * US_PER_S  # 2100: later than any recording, and int64 stays far away


class LongTableError(Exception):
    """A file that cannot be replayed: which line, what is wrong, and what would be right."""


@dataclass(frozen=True, slots=True)
class LongTable:
    """Readings stably sorted by time, which is their arrival too; the types of their devices."""

    readings: Readings
    series: tuple[Series, ...]
    types: dict[str, str]

    def slices(self) -> Iterator[tuple[Readings, tuple[Series, ...]]]:
        """For `rules.replay.replay`, which cuts them as it likes."""
        yield self.readings, self.series


def read_long(file: Path, site: str = "") -> LongTable:
    """A `.parquet` file, or else a CSV, with the columns time, device, type, channel, metric,
    value and, if it likes, site (else all rows are of `site`). Raises LongTableError, OSError."""
    if file.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(file, site)
    return _read_csv(file, site)


@dataclass(slots=True)
class _Names:
    """The series of a file, each checked once, where it first appears."""

    site: str
    table: SeriesTable = field(default_factory=SeriesTable)
    types: dict[str, str] = field(default_factory=dict)
    known: dict[tuple[str, ...], int] = field(default_factory=dict)

    def number(self, names: tuple[str, ...]) -> int:
        """Of (device, type, channel, metric, site). ValueError says what is wrong with them."""
        known = self.known.get(names)
        if known is None:
            known = self.known[names] = self._new(*names)
        return known

    def _new(self, device: str, type: str, channel: str, metric: str, site: str = "") -> int:
        for word, value in (("device", device), ("channel", channel)):
            if not value or len(value) > NAME_MAX:
                raise ValueError(f"{word} must have 1 to {NAME_MAX} characters")
        if type not in shelf_words("ingest.devices"):
            raise ValueError(
                f"no device type {type!r}{nearest(type, shelf_words('ingest.devices'))}"
            )
        if metric not in CATALOGUE:
            raise ValueError(f"no metric {metric!r}{nearest(metric, tuple(CATALOGUE))}")
        before = self.types.setdefault(device, device_type(type).name)
        if before != type:
            raise ValueError(f"{device} is a {type} here and a {before} before: it is one of them")
        return self.table.number(Series(site or self.site, device, channel, metric))


def _read_csv(file: Path, site: str) -> LongTable:
    names = _Names(site)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines, strict=True)
        try:
            parsed = list(_parsed(rows, names))
        except UnicodeDecodeError as error:
            raise LongTableError(f"{file}: not UTF-8 after line {rows.line_num}: {error}") from None
        except (ValueError, csv.Error) as error:
            raise LongTableError(f"{file}:{max(1, rows.line_num)}: {error}") from None
    times, series, values = zip(*parsed, strict=True) if parsed else ((), (), ())
    return _sorted(
        names,
        np.array(times, np.int64),
        np.array(series, np.int32),
        np.array(values, np.float64),
    )


def _parsed(rows: Iterator[list[str]], names: _Names) -> Iterator[tuple[int, int, float]]:
    """Time in µs, series and value of each row; ValueError says what is wrong with the newest."""
    pick = _picker(next(rows, []))
    time, device, type, channel, metric, value, *site = pick
    keys = (device, type, channel, metric, *site)
    for row in rows:
        if len(row) == len(pick):
            number = names.number(tuple(row[at] for at in keys))
            yield _time_us(row[time]), number, _value(row[value], row[metric])
        elif row:
            raise ValueError(f"{len(row)} fields where there must be {len(pick)}")


def _picker(header: list[str]) -> list[int]:
    """Where the columns are, in the order of COLUMNS and OPTIONAL."""
    words = [word.strip() for word in header]
    right = f"the first line must be {','.join(COLUMNS)}[,{','.join(OPTIONAL)}]"
    for word in words:
        if word not in COLUMNS + OPTIONAL or words.count(word) > 1:
            raise ValueError(f"column {word!r} is unknown or there twice: {right}")
    for word in COLUMNS:
        if word not in words:
            raise ValueError(f"column {word!r} is missing: {right}")
    return [words.index(word) for word in COLUMNS + OPTIONAL if word in words]


def _time_us(text: str) -> int:
    try:
        time_us = parse_us(text.strip())
    except (ValueError, OverflowError):
        time_us = -1
    if not _FIRST_US <= time_us < _LAST_US:
        raise ValueError(f"time {text[:40]!r} is none: write ISO 8601 UTC, as 2026-05-01T08:00:00Z")
    return time_us


def _value(text: str, metric: str) -> float:
    known = CATALOGUE[metric]
    try:
        value: float | None = float(text)
    except ValueError:
        value = state_number(known, text.strip()) if known.form == "state" else None
    if value is None or not math.isfinite(value):
        raise ValueError(f"value {text[:40]!r} is none: write {_valid(known)}")
    return value


def _valid(metric: Metric) -> str:
    if metric.form == "state":
        return f"one of {', '.join(metric.words)}"
    return f"a number in {metric.unit}, as 21.5, and no row where there is none"


def _sorted(names: _Names, times: np.ndarray, series: np.ndarray, values: np.ndarray) -> LongTable:
    order = np.argsort(times, kind="stable")
    times = times[order]
    readings = Readings(times, times, series[order], values[order], np.zeros(len(times), np.uint16))
    return LongTable(readings, tuple(names.table.rows), names.types)


_TIMES = {
    "TIMESTAMP": "epoch_us(time)",
    "TIMESTAMP WITH TIME ZONE": "epoch_us(time)",
    "TIMESTAMP_NS": "epoch_us(time)",
    "TIMESTAMP_MS": "epoch_us(time)",
    "TIMESTAMP_S": "epoch_us(time)",
    "VARCHAR": "epoch_us(try_cast(time AS TIMESTAMP))",
}


def _read_parquet(file: Path, site: str) -> LongTable:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as db:
        try:
            return _queried(db, file, site)
        except duckdb.Error as error:
            raise LongTableError(f"{file}: not a Parquet file that can be read: {error}") from None
        except ValueError as error:
            raise LongTableError(f"{file}: {error}") from None


def _queried(db: duckdb.DuckDBPyConnection, file: Path, site: str) -> LongTable:
    described = db.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(file)]).fetchall()
    columns = {str(row[0]): str(row[1]) for row in described}
    _picker(list(columns))
    if columns["time"] not in _TIMES:
        words = ", ".join(_TIMES)
        raise ValueError(f"time is a {columns['time']}; it must be one of {words}, in UTC")
    keys = [word for word in ("device", "type", "channel", "metric", "site") if word in columns]
    texts = ", ".join(f"coalesce(cast({key} AS VARCHAR), '') AS {key}" for key in keys)
    db.execute(
        f"CREATE TEMP TABLE rows AS SELECT file_row_number AS n, {_TIMES[columns['time']]} AS t, "
        f"try_cast(value AS DOUBLE) AS v, {texts} "
        "FROM read_parquet(?, file_row_number = true)",
        [str(file)],
    )
    _refuse(db, "t IS NULL", "time is none: write ISO 8601 UTC, as 2026-05-01T08:00:00Z")
    _refuse(db, f"t < {_FIRST_US} OR t >= {_LAST_US}", "time must be between 1970 and 2100")
    _refuse(db, "v IS NULL OR NOT isfinite(v)", "value must be a number")
    names = _Names(site)
    listed = ", ".join(keys)
    groups = db.execute(f"SELECT {listed}, min(n) FROM rows GROUP BY {listed} ORDER BY min(n)")
    numbers = [(_numbered(names, row[:-1], row[-1]), *row[:-1]) for row in groups.fetchall()]
    db.execute(
        f"CREATE TEMP TABLE names (number INTEGER, {', '.join(k + ' VARCHAR' for k in keys)})"
    )
    if numbers:
        db.executemany(f"INSERT INTO names VALUES ({', '.join('?' * len(numbers[0]))})", numbers)
    found = db.execute(
        f"SELECT t, number, v FROM rows JOIN names USING ({listed}) ORDER BY n"
    ).fetchnumpy()
    return _sorted(
        names,
        np.asarray(found["t"], np.int64),
        np.asarray(found["number"], np.int32),
        np.asarray(found["v"], np.float64),
    )


def _numbered(names: _Names, row: tuple[str, ...], at: int) -> int:
    try:
        return names.number(row)
    except ValueError as error:
        raise ValueError(f"row {at + 1}: {error}") from None


def _refuse(db: duckdb.DuckDBPyConnection, where: str, problem: str) -> None:
    bad = db.execute(f"SELECT min(n) FROM rows WHERE {where}").fetchone()
    if bad and bad[0] is not None:
        raise ValueError(f"row {bad[0] + 1}: {problem}")
