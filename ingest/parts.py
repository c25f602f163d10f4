"""Readings as Parquet files, written from numpy columns and read by DuckDB; nobody else calls it.

Columns of a file: site, device, channel, metric (text), time_us (int64 µs since 1970 UTC), delay_us
(int64: arrival - time), value (double), flags (uint16), sorted by series and time. Any Parquet tool
can read it. The delay takes a third less space than the arrival would (docs/decisions/0004).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from ingest.readings import Flags, Numbers, Readings, Series, SeriesNumbers, SeriesTable, Times
from ingest.store import StoreError

ROW_GROUP = 51_200  # whole DuckDB vectors of 2,048
"""Small enough that one series of a day is found without reading the day."""

_SETTINGS = {
    # a machine without network must behave as one with it
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    # never a file beside ours: what does not fit is an error
    "temp_directory": "",
    "memory_limit": "1GB",
}

Columns = dict[str, NDArray[Any]]


class Parquet:
    """May be used by several threads at once: every call has a connection of its own."""

    def __init__(self, threads: int = 1) -> None:
        settings: dict[str, Any] = {**_SETTINGS, "threads": str(threads)}
        self._database = duckdb.connect(":memory:", config=settings)

    def write(self, file: Path, readings: Readings, table: SeriesTable) -> None:
        """Writes all rows in their order. StoreError: the file is not there or not whole."""
        used = np.unique(readings.series)
        rows: Columns = {
            "number": readings.series,
            "time_us": readings.time_us,
            "arrival_us": readings.arrival_us,
            "value": readings.value,
            "flags": readings.flags,
        }
        try:
            with self._database.cursor() as connection:
                connection.register("rows", rows)
                connection.register("names", _names([table.rows[n] for n in used], used))
                connection.execute(_WRITE.format(file=_quoted(file)))
        except duckdb.Error as error:
            raise StoreError(f"{file} could not be written: {error}") from error

    def read_series(
        self, files: Sequence[Path], series: Series, since_us: int, until_us: int
    ) -> Readings:
        """One series with times in [since, until), in no order; its number is 0."""
        columns = self._fetch(
            files,
            f"SELECT time_us, {_ARRIVAL} AS arrival_us, 0::INTEGER AS number, value, flags "
            "FROM {parts} "
            "WHERE time_us >= ? AND time_us < ? "
            "AND site = ? AND device = ? AND channel = ? AND metric = ?",
            [since_us, until_us, *series],
        )
        return _readings(columns)

    def read_arrived(
        self, files: Sequence[Path], since_us: int, until_us: int, table: SeriesTable
    ) -> Readings:
        """All rows that arrived in [since, until), in no order, numbered by `table`."""
        between = [since_us, until_us]
        columns = self._fetch(
            files, f"SELECT DISTINCT site, device, channel, metric {_ARRIVED}", between
        )
        found = [Series(*row) for row in zip(*columns.values(), strict=True)]
        numbers = np.asarray([table.number(series) for series in found], np.int32)
        columns = self._fetch(
            files,
            f"SELECT time_us, {_ARRIVAL} AS arrival_us, number, value, flags "
            f"{_ARRIVED.replace('{parts}', '{parts} JOIN names {using}')}",
            between,
            _names(found, numbers),
        )
        return _readings(columns)

    def count_arrived(self, files: Sequence[Path], since_us: int, until_us: int) -> int:
        """How many rows arrived in [since, until)."""
        columns = self._fetch(files, f"SELECT count(*) AS n {_ARRIVED}", [since_us, until_us])
        return int(columns["n"][0]) if columns else 0

    def close(self) -> None:
        self._database.close()

    def _fetch(
        self,
        files: Sequence[Path],
        query: str,
        parameters: Sequence[object],
        names: Columns | None = None,
    ) -> Columns:
        if not files:  # DuckDB refuses an empty list
            return {}
        parts = f"read_parquet([{', '.join(_quoted(file) for file in files)}], {_READ})"
        try:
            with self._database.cursor() as connection:
                if names is not None:
                    connection.register("names", names)
                text = query.format(parts=parts, using="USING (site, device, channel, metric)")
                found: Columns = connection.execute(text, list(parameters)).fetchnumpy()
                return found
        except duckdb.Error as error:
            raise StoreError(f"history in {files[0].parent} cannot be read: {error}") from error


_READ = "hive_partitioning = false, union_by_name = false"
_ARRIVAL = "(time_us + delay_us)"
_ARRIVED = f"FROM {{parts}} WHERE {_ARRIVAL} >= ? AND {_ARRIVAL} < ?"
_WRITE = f"""COPY (
    SELECT site, device, channel, metric,
        time_us, arrival_us - time_us AS delay_us, value, flags
    FROM rows JOIN names USING (number)
) TO {{file}} (FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2, ROW_GROUP_SIZE {ROW_GROUP})"""


def _names(series: Sequence[Series], numbers: NDArray[Any]) -> Columns:
    texts = {
        name: np.asarray([getattr(row, name) for row in series], object) for name in Series._fields
    }
    return {"number": np.asarray(numbers, np.int32), **texts}


def _quoted(file: Path) -> str:
    text = str(file).replace("'", "''")
    return f"'{text}'"


def _readings(columns: Columns) -> Readings:
    if not columns:
        return Readings.empty()
    time_us: Times = np.asarray(columns["time_us"], np.int64)
    arrival_us: Times = np.asarray(columns["arrival_us"], np.int64)
    series: SeriesNumbers = np.asarray(columns["number"], np.int32)
    value: Numbers = np.asarray(columns["value"], np.float64)
    flags: Flags = np.asarray(columns["flags"], np.uint16)
    return Readings(time_us, arrival_us, series, value, flags)
