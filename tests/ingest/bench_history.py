"""Measures the embedded history: `python -m tests.ingest.bench_history` (a minute or two).

Times are processor time of one thread: other work on the machine does not count.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ingest.manifest import read_manifest
from ingest.readings import Readings, Series, SeriesTable
from ingest.store import Cursor
from ingest.stores.embedded import Embedded, open_store

DAY_US = 86_400_000_000
T0_US = 1_795_000_000_000_000 // DAY_US * DAY_US
DAYS = 30
SITE = "rihuali"


def table_of(count: int) -> SeriesTable:
    return SeriesTable.of(
        Series(SITE, f"meter-{n:05d}", "main", "power.active") for n in range(count)
    )


def readings_of(
    chance: np.random.Generator, series: int, first_us: int, step_us: int, rounds: int, jitter: bool
) -> Readings:
    """`rounds` readings of each series, in the order of arrival. Regular: on the step, arriving
    some ms later, values of a slow walk in steps of 0.1. With jitter: times off by up to a
    second, in ms, and noise in steps of 0.01."""
    n = series * rounds
    number = np.tile(np.arange(series, dtype=np.int32), rounds)
    time_us = first_us + np.repeat(np.arange(rounds, dtype=np.int64), series) * step_us
    walk = np.cumsum(chance.integers(-3, 4, (rounds, series)), axis=0).ravel() / 10 + 300
    delay_us = chance.integers(20_000, 60_000, n)
    if jitter:
        time_us = time_us + chance.integers(0, 1_000, n) * 1_000
        walk = np.round(walk + chance.normal(0, 1, n), 2)
    rows = Readings(time_us, time_us + delay_us, number, walk, np.zeros(n, np.uint16))
    return rows.take(np.argsort(rows.arrival_us, kind="stable"))


def filled(folder: Path, series: int, appends: int, rounds: int, jitter: bool) -> Embedded:
    """DAYS days of history in equal appends; tells the rate and the size."""
    chance = np.random.default_rng(20_261_124)
    table = table_of(series)
    step_us = DAYS * DAY_US // (appends * rounds)
    store = open_store(folder)
    store.append(Readings.empty(), table, Cursor("bench", 0))
    spent_s, rows = 0.0, 0
    for batch in range(appends):
        first_us = T0_US + batch * rounds * step_us
        readings = readings_of(chance, series, first_us, step_us, rounds, jitter)
        began_s = time.process_time()
        store.append(readings, table, Cursor("bench", batch + 1))
        spent_s += time.process_time() - began_s
        rows += len(readings)
    tell("written", f"{rows} rows of {series} series in {appends} appends")
    tell("append", f"{rows / spent_s / 1e6:.2f} M rows/s, {spent_s / appends * 1e3:.0f} ms each")
    parts = read_manifest(folder).parts
    tell(
        "size",
        f"{sum(part.bytes for part in parts) / rows:.2f} bytes a reading, {len(parts)} parts",
    )
    return store


def median_ms(task: Callable[[], object], times: int = 15) -> float:
    task()
    spent = []
    for _ in range(times):
        began_s = time.process_time()
        task()
        spent.append(time.process_time() - began_s)
    return statistics.median(spent) * 1e3


def ask(store: Embedded, series: Series) -> None:
    """The trend of a day, the trend of the month, and everything once."""
    day_us = T0_US + 15 * DAY_US
    minute_us, end_us = 60_000_000, T0_US + DAYS * DAY_US
    day = median_ms(lambda: store.buckets(*series, day_us, day_us + DAY_US, minute_us))
    month = median_ms(lambda: store.buckets(*series, T0_US, end_us, 60 * minute_us))
    tell("one series", f"24 h in minutes {day:.1f} ms, 30 days in hours {month:.1f} ms")
    site = median_ms(lambda: site_by_hour(store), 5)
    tell("whole site", f"30 days in hours {site:.0f} ms")
    began_s, table = time.process_time(), SeriesTable()
    rows = sum(len(piece) for piece in store.scan(0, 2**62, table))
    tell("scan", f"{rows / (time.process_time() - began_s) / 1e6:.2f} M rows/s")


def site_by_hour(store: Embedded) -> object:
    """What a report would ask: the site's mean an hour, straight from the parts."""
    files = [str(store._folder / part.file) for part in store._in_force().parts]
    with store._parquet._database.cursor() as connection:
        return connection.execute(
            "SELECT time_us // 3600000000 AS hour, avg(value) FROM read_parquet($1) "
            "WHERE site = $2 GROUP BY hour",
            [files, SITE],
        ).fetchnumpy()


def merged(store: Embedded, folder: Path) -> None:
    """All that tidy finds to do."""
    before = read_manifest(folder)
    began_s = time.process_time()
    longest_s, rounds = 0.0, 0
    while True:
        one_s = time.process_time()
        if not store.tidy():
            break
        longest_s, rounds = max(longest_s, time.process_time() - one_s), rounds + 1
    spent_s = time.process_time() - began_s
    after = read_manifest(folder)
    tell(
        "tidy",
        f"{len(before.parts)} parts to {len(after.parts)} in {rounds} steps, {spent_s:.1f} s, "
        f"the longest {longest_s * 1e3:.0f} ms",
    )
    rows = sum(part.rows for part in after.parts)
    tell("size", f"{sum(part.bytes for part in after.parts) / rows:.2f} bytes a reading")


def tell(what: str, found: str) -> None:
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    print(f"{what:12} {found}  (peak {peak_mb:.0f} MB)")


def main() -> None:
    for jitter in (False, True):
        for series, appends, rounds, what in (
            (10_000, 4, 50, "10,000 series, parts of 500,000"),
            (46, 30 * 48, 30, "46 series each minute, an append each half hour"),
        ):
            print(f"\n{what}, {'with jitter' if jitter else 'regular'}")
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name) / "history"
                store = filled(folder, series, appends, rounds, jitter)
                ask(store, table_of(series).rows[17])
                merged(store, folder)
                ask(store, table_of(series).rows[17])
                store.close()


if __name__ == "__main__":
    main()
