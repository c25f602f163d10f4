"""What the embedded store promises beyond the contract: crashes, merging, other processes."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import manifest as manifest_file
from ingest import merging, parts_reader
from ingest.manifest import NAME, Part, read_manifest
from ingest.merging import parts_to_merge
from ingest.readings import Readings, Series, SeriesTable
from ingest.store import Cursor, StoreError
from ingest.stores import embedded
from ingest.stores.embedded import Embedded, open_store
from tests.ingest.store_model import (
    DAY_US,
    EVER,
    SERIES,
    T0_US,
    Row,
    check_equals_model,
    columns,
    plain,
    some_appends,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "history"


@pytest.fixture
def store(folder: Path) -> Iterator[Embedded]:
    opened = open_store(folder)
    yield opened
    opened.close()


def numbered(first: int, count: int) -> list[Row]:
    """Reading n is n, one a second."""
    return [
        Row(SERIES[0], T0_US + n * 1_000_000, T0_US + n * 1_000_000 + 5, float(n), 0)
        for n in range(first, first + count)
    ]


def append(store: Embedded, rows: list[Row], batch: int) -> None:
    table = SeriesTable()
    store.append(columns(rows, table), table, Cursor("j", batch))


def values(store: Embedded) -> list[float]:
    found: list[float] = store.read(*SERIES[0], *EVER).value.tolist()
    return found


def everything(store: Embedded) -> list[Row]:
    table = SeriesTable()
    return [row for piece in store.scan(*EVER, table) for row in plain(piece, table)]


@settings(max_examples=15, deadline=None)
@given(some_appends())
def test_merging_changes_nothing_that_can_be_read(appends: list[list[Row]]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "MANY", 2)
        patch.setattr(embedded, "KEEP_REPLACED_US", 0)
        store = open_store(Path(name))
        table = SeriesTable()
        for number, rows in enumerate(appends, 1):
            store.append(columns(rows, table), table, Cursor("j", number))
        before = everything(store)
        while store.tidy():
            pass
        store.tidy()
        assert everything(store) == before
        check_equals_model(
            store, list(itertools.chain.from_iterable(appends)), T0_US - 2 * DAY_US, T0_US + DAY_US
        )
        files = {file.name for file in Path(name).glob("*.parquet")}
        assert files == {part.file for part in read_manifest(Path(name)).parts}
        store.close()


@settings(max_examples=6, deadline=None)
@given(some_appends(), st.integers(1, 4))
def test_a_crash_at_any_step_loses_nothing_and_doubles_nothing(
    appends: list[list[Row]], many: int
) -> None:
    """The folder is copied before and after every step that touches the disk; each copy is what a
    crash at that moment leaves behind. The drain then goes on after the cursor that it finds."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "MANY", many + 1)
        patch.setattr(embedded, "KEEP_REPLACED_US", 0)
        home, copies = Path(name) / "history", Path(name) / "copies"
        copies.mkdir()
        copy_around_disk_steps(patch, home, copies)
        store = open_store(home)
        for number, rows in enumerate(appends, 1):
            append(store, rows, number)
            store.tidy()
        store.close()
        patch.undo()
        left = sorted(copies.iterdir())
        for crashed in left[:: max(1, len(left) // 10)]:
            resumed = open_store(crashed)
            cursor = resumed.cursor()
            done = cursor.batch if cursor else 0
            check_only(resumed, appends[:done])
            for number, rows in enumerate(appends[done:], done + 1):
                append(resumed, rows, number)
            check_only(resumed, appends)
            resumed.close()


def check_only(store: Embedded, appends: list[list[Row]]) -> None:
    rows = list(itertools.chain.from_iterable(appends))
    check_equals_model(store, rows, T0_US - 2 * DAY_US, T0_US + 2 * DAY_US)


def copy_around_disk_steps(patch: pytest.MonkeyPatch, home: Path, copies: Path) -> None:
    count = itertools.count()
    fsync, replace_, unlink = os.fsync, Path.replace, Path.unlink

    def copy() -> None:
        if home.exists():
            shutil.copytree(home, copies / f"{next(count):06d}")

    def copying_fsync(descriptor: int) -> None:
        copy()
        fsync(descriptor)

    def copying_replace(path: Path, target: Path) -> Path:
        copy()
        done = replace_(path, target)
        copy()
        return done

    def copying_unlink(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        copy()

    patch.setattr(os, "fsync", copying_fsync)
    patch.setattr(Path, "replace", copying_replace)
    patch.setattr(Path, "unlink", copying_unlink)


WRITER = """
import sys
from pathlib import Path
from ingest import merging
from ingest.store import Cursor
from ingest.stores import embedded
from ingest.readings import SeriesTable
from tests.ingest.test_embedded import append, numbered
merging.MANY = 3
embedded.KEEP_REPLACED_US = 0
store = embedded.open_store(Path(sys.argv[1]))
cursor = store.cursor()
batch = cursor.batch if cursor else 0
while True:
    batch += 1
    append(store, numbered((batch - 1) * 50, 50), batch)
    print(batch, flush=True)
    store.tidy()
"""


def test_kill_9_loses_nothing_and_doubles_nothing(folder: Path) -> None:
    told = 0
    for run in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(3 + 4 * run):
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            told = max([told, *(int(line) for line in writer.stdout if line.endswith("\n"))])
        store = open_store(folder)
        cursor = store.cursor()
        assert cursor is not None
        assert cursor.batch >= told
        assert values(store) == [float(n) for n in range(cursor.batch * 50)]
        assert Counter(row.value for row in everything(store)).most_common(1)[0][1] == 1
        store.close()


def test_a_reader_in_another_process_never_misses_what_is_merged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are unlinked at once here, so that the reader meets the worst case all the time."""
    monkeypatch.setattr(merging, "MANY", 2)
    monkeypatch.setattr(embedded, "KEEP_REPLACED_US", 0)
    monkeypatch.setattr(parts_reader, "TRIES", 50)
    writer, reader = open_store(folder), open_store(folder)
    ended = threading.Event()

    def write() -> None:
        for batch in range(1, 61):
            append(writer, numbered((batch - 1) * 10, 10), batch)
            writer.tidy()
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = 0
    while not ended.is_set():
        cursor = reader.cursor()
        found = values(reader)
        assert found == [float(n) for n in range(len(found))]
        assert len(found) >= (cursor.batch * 10 if cursor else 0) >= seen
        seen = cursor.batch * 10 if cursor else 0
        assert len(everything(reader)) >= seen
    thread.join()
    assert values(reader) == [float(n) for n in range(600)]
    writer.close()
    reader.close()


def test_replaced_parts_stay_for_those_who_still_read_them(
    store: Embedded, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for batch in range(1, 9):
        append(store, numbered(batch, 1), batch)
    assert store.tidy() is True
    assert len(list(folder.glob("*.parquet"))) == 9
    assert len(read_manifest(folder).parts) == 1
    monkeypatch.setattr(embedded, "KEEP_REPLACED_US", 0)
    store.tidy()
    assert len(list(folder.glob("*.parquet"))) == 1
    assert read_manifest(folder).replaced == ()
    assert values(store) == [float(n) for n in range(1, 9)]


def test_a_second_writer_is_refused_and_a_second_reader_is_not(
    store: Embedded, folder: Path
) -> None:
    append(store, numbered(0, 3), 1)
    other = open_store(folder)
    assert values(other) == [0.0, 1.0, 2.0]
    with pytest.raises(StoreError, match="another process"):
        append(other, numbered(3, 3), 2)
    other.close()


def test_the_lock_goes_with_the_writer(store: Embedded, folder: Path) -> None:
    append(store, numbered(0, 3), 1)
    store.close()
    other = open_store(folder)
    append(other, numbered(3, 1), 2)
    assert values(other) == [0.0, 1.0, 2.0, 3.0]
    other.close()


@pytest.mark.parametrize("damage", [b"", b"{", b'{"parts": 7}', b"\xff\xfe", b'{"version": 2}'])
def test_a_damaged_manifest_is_an_error_that_names_the_file(
    store: Embedded, folder: Path, damage: bytes
) -> None:
    append(store, numbered(0, 3), 1)
    store.close()
    (folder / NAME).write_bytes(damage)
    opened = open_store(folder)
    for attempt in (opened.cursor, lambda: values(opened), lambda: append(opened, [], 2)):
        with pytest.raises(StoreError, match=rf"history/{NAME} is damaged") as caught:
            attempt()
        assert caught.value.permanent
    opened.close()


def test_a_missing_manifest_is_no_empty_history(store: Embedded, folder: Path) -> None:
    append(store, numbered(0, 3), 1)
    store.close()
    (folder / NAME).unlink()
    opened = open_store(folder)
    with pytest.raises(StoreError, match=rf"{NAME} is missing, but there are parts"):
        opened.cursor()
    opened.close()


def test_a_missing_part_is_named(store: Embedded, folder: Path) -> None:
    append(store, numbered(0, 3), 1)
    store.close()
    part = next(folder.glob("*.parquet"))
    part.unlink()
    opened = open_store(folder)
    with pytest.raises(StoreError, match=part.name):
        values(opened)
    with pytest.raises(StoreError, match=f"{part.name} is missing") as caught:
        append(opened, [], 2)
    assert caught.value.permanent
    opened.close()


def test_what_a_crash_left_behind_is_removed_by_the_next_writer(folder: Path) -> None:
    folder.mkdir()
    (folder / "2026-11-24_rihuali_00000001.parquet.tmp").write_bytes(b"half")
    store = open_store(folder)
    append(store, numbered(0, 3), 1)
    (folder / "2026-11-24_rihuali_00000002.parquet").write_bytes(b"never in the manifest")
    store.close()
    again = open_store(folder)
    append(again, numbered(3, 1), 2)
    assert values(again) == [0.0, 1.0, 2.0, 3.0]
    known = {part.file for part in read_manifest(folder).parts}
    assert {file.name for file in folder.iterdir()} == {NAME, "writer.lock", *known}
    again.close()


@pytest.mark.parametrize("where", ["sync_file", "sync_folder", "write_manifest"])
@pytest.mark.parametrize("done", [False, True])
def test_a_step_that_fails_leaves_a_store_that_goes_on(
    store: Embedded, folder: Path, where: str, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`done`: the step was done, and the disk failed only after it."""
    append(store, numbered(0, 3), 1)
    step = getattr(embedded, where)

    def failing(*arguments: object) -> None:
        if done:
            step(*arguments)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(embedded, where, failing)
        with pytest.raises(StoreError, match="No space left") as caught:
            append(store, numbered(3, 3), 2)
        assert not caught.value.permanent
    cursor = store.cursor()
    assert cursor is not None
    assert cursor == read_manifest(folder).cursor
    assert values(store) == [float(n) for n in range(cursor.batch * 3)]
    append(store, numbered(cursor.batch * 3, 9), 9)
    assert values(store) == [float(n) for n in range(cursor.batch * 3 + 9)]


def test_any_parquet_tool_can_read_a_part(store: Embedded, folder: Path) -> None:
    append(store, [Row(SERIES[3], T0_US, T0_US + 7, 812.5, 16)], 1)
    with duckdb.connect() as tool:
        found = tool.execute(
            f"SELECT site, device, channel, metric, time_us, delay_us, value, flags "
            f"FROM '{folder}/*.parquet'"
        ).fetchall()
    assert found == [(*SERIES[3], T0_US, 7, 812.5, 16)]


def test_a_part_is_one_site_and_one_day(store: Embedded, folder: Path) -> None:
    rows = [Row(series, T0_US + day * DAY_US, T0_US, 1.0, 0) for series in SERIES for day in (0, 1)]
    append(store, rows, 1)
    found = read_manifest(folder).parts
    assert sorted((part.site, part.day - T0_US // DAY_US, part.rows) for part in found) == [
        ("o'hara 东区", 0, 1),
        ("o'hara 东区", 1, 1),
        ("rihuali", 0, 3),
        ("rihuali", 1, 3),
    ]


@pytest.mark.parametrize("name", ["a[b]*c", "it's", "x=1,{n}", "历史"])
def test_the_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "abXc").mkdir()
    store = open_store(tmp_path / name)
    append(store, numbered(0, 3), 1)
    assert values(store) == [0.0, 1.0, 2.0]
    store.close()


@pytest.mark.parametrize("time_us", [-(2**62), -1, 0, 2**62])
def test_a_time_far_from_ours_does_not_stop_the_store(store: Embedded, time_us: int) -> None:
    append(store, [Row(SERIES[0], time_us, T0_US, 1.0, 0)], 1)
    assert store.read(*SERIES[0], -(2**63), 2**63 - 1).time_us.tolist() == [time_us]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=4, max_size=4))
def test_names_come_back_as_they_were(words: list[str]) -> None:
    series = Series(*words)
    with tempfile.TemporaryDirectory() as name:
        store = open_store(Path(name) / "h")
        append(store, [Row(series, T0_US, T0_US, 1.0, 0)], 1)
        assert len(store.read(*series, *EVER)) == 1
        assert [row.series for row in everything(store)] == [series]
        store.close()


def test_a_scan_is_cut_into_slices(store: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_reader, "SLICE_ROWS", 10)
    burst = [Row(SERIES[1], T0_US + n, T0_US + 40_000_000, float(n), 0) for n in range(25)]
    rows = numbered(0, 100) + burst
    append(store, rows[::2], 1)
    append(store, rows[1::2], 2)
    table = SeriesTable()
    slices = list(store.scan(*EVER, table))
    assert max(len(piece) for piece in slices) <= 10
    found = [row for piece in slices for row in plain(piece, table)]
    assert found == sorted(rows, key=lambda row: (row.arrival_us, row.time_us))


def test_what_a_later_arrival_replaced_is_still_in_the_scan(store: Embedded) -> None:
    """A replay then sees what the rules saw live."""
    rows = [Row(SERIES[0], T0_US, T0_US + n, float(n), 0) for n in range(20)]
    for batch, row in enumerate(rows, 1):
        append(store, [row], batch)
        store.tidy()
    assert everything(store) == rows
    assert values(store) == [19.0]


def test_no_extension_is_ever_fetched(store: Embedded) -> None:
    with store._parquet._database.cursor() as connection:
        found = connection.execute(
            "SELECT name, value FROM duckdb_settings() WHERE name LIKE 'auto%extensions' "
            "OR name IN ('threads', 'temp_directory', 'python_enable_replacements')"
        ).fetchall()
    assert dict(found) == {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        "temp_directory": "",
        "threads": "1",
    }


def a_part(number: int, day: int, level: int, rows: int, arrival_us: int) -> Part:
    return Part(f"{number}.parquet", "s", day, level, rows, rows * 4, 0, 0, arrival_us, arrival_us)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 600_000), st.integers(0, 9)),
        max_size=60,
    )
)
def test_merging_comes_to_an_end_and_leaves_few_parts_a_day(
    made: list[tuple[int, int, int, int]],
) -> None:
    parts = [
        a_part(n, day, level, rows, hour * 3_600_000_000)
        for n, (day, level, rows, hour) in enumerate(made)
    ]
    total = sum(part.rows for part in parts)
    steps = 0
    while chosen := parts_to_merge(parts):
        steps += 1
        assert steps <= len(made)
        assert len({(part.site, part.day) for part in chosen}) == 1
        assert len(chosen) >= 2
        rows = sum(part.rows for part in chosen)
        assert rows < 2 * merging.FULL_ROWS
        merged = a_part(
            1_000 + steps,
            chosen[0].day,
            max(part.level for part in chosen) + 1,
            rows,
            max(part.max_arrival_us for part in chosen),
        )
        parts = [part for part in parts if part not in chosen] + [merged]
    assert sum(part.rows for part in parts) == total
    small = Counter((p.day, p.level) for p in parts if p.rows < merging.FULL_ROWS)
    assert max(small.values(), default=0) < merging.MANY


def test_a_day_that_is_over_becomes_one_part() -> None:
    day = T0_US // DAY_US
    old = [a_part(n, day, 0, 100, T0_US + n) for n in range(3)]
    assert parts_to_merge(old) == ()
    much_later = a_part(9, day + 1, 0, 100, T0_US + DAY_US + 3_600_000_000)
    assert set(parts_to_merge([*old, much_later])) == set(old)


def test_appends_a_minute_for_a_day_keep_parts_and_rewriting_few() -> None:
    day = T0_US // DAY_US
    parts: list[Part] = []
    rewritten = 0
    for minute in range(1_440):
        parts.append(a_part(minute, day, 0, 230, T0_US + minute * 60_000_000))
        while chosen := parts_to_merge(parts):
            rows = sum(part.rows for part in chosen)
            rewritten += rows
            merged = a_part(
                10_000 + rewritten, day, chosen[0].level + 1, rows, chosen[-1].max_arrival_us
            )
            parts = [part for part in parts if part not in chosen] + [merged]
        assert len(parts) <= 4 * merging.MANY
    assert rewritten <= 4 * 1_440 * 230


def test_a_manifest_that_cannot_be_read_is_told(folder: Path) -> None:
    folder.mkdir()
    (folder / NAME).mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        manifest_file.read_manifest(folder)


def test_times_and_values_come_back_bit_for_bit(store: Embedded) -> None:
    chance = np.random.default_rng(20_261_124)
    n = 60_000
    rows = Readings(
        T0_US + chance.permutation(n) * 1_000_003,
        T0_US + chance.permutation(n) * 1_000_033,
        chance.integers(0, 2, n, np.int32),
        chance.normal(300, 40, n),
        chance.integers(0, 31, n).astype(np.uint16),
    )
    store.append(rows, SeriesTable.of(SERIES[:2]), Cursor("j", 1))
    for number in (0, 1):
        mine = rows.take(rows.series == number)
        mine = mine.take(np.argsort(mine.time_us))
        found = store.read(*SERIES[number], *EVER)
        for name in ("time_us", "arrival_us", "value", "flags"):
            assert np.array_equal(getattr(found, name), getattr(mine, name))
