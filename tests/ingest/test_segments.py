import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import rotation, segment
from ingest.batch_bytes import decode_readings, encode_readings
from ingest.changes import Change
from ingest.journal import Batch, JournalError, Print, Quarantined, follow
from ingest.latest import Latest
from ingest.readings import NOT_FRESH, Readings, Series, SeriesTable
from ingest.segments import SegmentWriter, open_reader, open_writer
from tests.ingest.batches import batch_of, batch_runs, change_of, plain, readings

S = 1_000_000
SERIES = tuple(Series("s", "d", f"port.{n}", "current") for n in range(4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def writer(folder: Path) -> Iterator[SegmentWriter]:
    opened = open_writer(folder)
    yield opened
    opened.close()


def read_all(folder: Path, after: int = 0) -> list[Batch]:
    reader = open_reader(folder)
    try:
        return list(follow(reader, after))
    finally:
        reader.close()


def names(folder: Path) -> list[str]:
    return [path.name for _, path in segment.segments(folder)]


@given(st.data())
def test_readings_come_back_as_they_were(data: st.DataObject) -> None:
    rows = data.draw(readings(5))
    assert plain(decode_readings(encode_readings(rows))) == plain(rows)


def test_many_readings_are_deflated_and_come_back_as_they_were() -> None:
    n = 5_000
    rows = Readings.of(
        [10**15 + 1_000 * row for row in range(n)],
        [10**15 + 40 * (row // 4) for row in range(n)],
        [row % 100 for row in range(n)],
        [812.4 + row % 7 for row in range(n)],
        [0] * n,
    )
    data = encode_readings(rows)
    assert len(data) < 30 * n / 3
    assert plain(decode_readings(data)) == plain(rows)


@settings(deadline=None, max_examples=30)
@given(batches=batch_runs(), segment_seconds=st.sampled_from([100, 3_600]), reopen=st.booleans())
def test_what_was_committed_is_read_back_equal(
    batches: list[Batch], segment_seconds: int, reopen: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = open_writer(folder, segment_seconds=segment_seconds)
        for batch in batches:
            writer.commit(batch)
            if reopen:
                writer.close()
                writer = open_writer(folder, segment_seconds=segment_seconds)
        reader = open_reader(folder)
        assert plain(reader.read(0)) == plain(batches)
        assert plain(reader.read(1, 2)) == plain(batches[1:3])
        assert reader.last() == writer.last == len(batches)
        assert reader.table().rows == writer.table.rows
        assert reader.id == writer.id
        reader.close()
        writer.close()


def test_an_empty_journal_reads_as_empty(writer: SegmentWriter, folder: Path) -> None:
    reader = open_reader(folder)
    assert (reader.last(), list(reader.read(0)), len(reader.table())) == (0, [], 0)
    assert list(reader.alerts(10)) == []
    assert (reader.latest()[0], len(reader.latest()[1])) == (0, 0)
    reader.close()


def test_a_folder_without_a_journal_is_refused_by_the_reader(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="holds no journal"):
        open_reader(tmp_path)


def test_a_second_writer_is_refused(writer: SegmentWriter, folder: Path) -> None:
    with pytest.raises(JournalError, match="another process") as caught:
        open_writer(folder)
    assert caught.value.permanent


def test_a_batch_out_of_turn_is_refused(writer: SegmentWriter) -> None:
    with pytest.raises(ValueError, match="cannot follow"):
        writer.commit(batch_of(2, S))


def test_series_that_no_batch_brings_are_refused(writer: SegmentWriter) -> None:
    writer.table.number(SERIES[0])
    with pytest.raises(ValueError, match="new series"):
        writer.commit(batch_of(1, S))


def test_a_journal_of_another_format_is_refused(folder: Path) -> None:
    open_writer(folder).close()
    connection = sqlite3.connect(segment.segment_path(folder, 1))
    connection.execute("UPDATE meta SET value = 99 WHERE key = 'format'")
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="journal format 99"):
        open_writer(folder)


def test_segments_follow_one_another_by_age_and_by_size(folder: Path) -> None:
    writer = open_writer(folder, segment_seconds=10, segment_bytes=5_000)
    writer.commit(batch_of(1, 0, new=SERIES, n=4))
    writer.commit(batch_of(2, 9 * S))
    writer.commit(batch_of(3, 10 * S))
    assert names(folder) == ["000000000001.db", "000000000003.db"]
    big = Quarantined(1, "t", "p", "r", "d", bytes(4_096), 4_096)
    for number in range(4, 8):
        writer.commit(replace(batch_of(number, 11 * S), quarantined=(big,)))
    assert names(folder)[2:] == ["000000000006.db"]
    writer.close()
    assert [batch.number for batch in read_all(folder)] == list(range(1, 8))


def test_only_old_segments_that_are_behind_everybody_are_released(folder: Path) -> None:
    writer = open_writer(folder, segment_seconds=10, keep_seconds=25)
    for number in range(1, 7):  # two batches a segment
        writer.commit(batch_of(number, 5 * number * S))
    assert names(folder) == [f"{first:012d}.db" for first in (1, 3, 5)]
    writer.release(6)
    assert len(names(folder)) == 3  # none is old enough
    writer.commit(batch_of(7, 36 * S))
    writer.release(1)
    assert len(names(folder)) == 4  # batch 2 is still needed
    writer.release(2)
    assert names(folder) == [f"{first:012d}.db" for first in (3, 5, 7)]
    writer.close()
    writer = open_writer(folder, segment_seconds=10, keep_seconds=0)
    writer.release(100)
    assert names(folder) == ["000000000007.db"]  # the open one always stays
    reader = open_reader(folder)
    with pytest.raises(LookupError, match=r"batch 3 is no longer kept; the oldest .* is 7"):
        reader.read(2)
    assert [batch.number for batch in reader.read(6)] == [7]
    assert list(reader.read(7)) == []
    reader.close()
    writer.close()


def test_a_reader_lives_through_rotation_and_release(folder: Path) -> None:
    writer = open_writer(folder, segment_seconds=1, keep_seconds=0)
    writer.commit(batch_of(1, S, new=SERIES[:1], n=1))
    reader = open_reader(folder)
    assert [batch.number for batch in reader.read(0)] == [1]
    for number in range(2, 12):
        new = SERIES[1:2] if number == 5 else ()
        writer.commit(batch_of(number, number * S, new=new))
        writer.release(number - 1)
        assert [batch.number for batch in reader.read(number - 1)] == [number]
        assert reader.last() == number
    assert reader.table().rows == list(SERIES[:2])
    with pytest.raises(LookupError):
        reader.read(0)
    reader.close()
    writer.close()


def test_alerts_show_their_newest_change_and_outlive_their_segments(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "ALERTS_CARRIED", 2)
    writer = open_writer(folder, segment_seconds=1, keep_seconds=0)

    def commit(number: int, *made: Change) -> None:
        writer.commit(replace(batch_of(number, number * S), changes=made))

    commit(1, change_of("open", at_us=1), change_of("a", at_us=2), change_of("b", at_us=3))
    commit(2, change_of("a", "resolved", 4), change_of("b", "resolved", 5))
    commit(3, change_of("c", at_us=6), change_of("c", "resolved", 7))
    commit(4, change_of("open", "unknown", 8))
    writer.release(100)
    reader = open_reader(folder)
    rows = [(row.change.episode, row.change.state, row.resolved_us) for row in reader.alerts(10)]
    assert rows == [
        ("open", "unknown", None),
        ("c", "resolved", 7),
        ("b", "resolved", 5),
    ]
    assert [row.change.episode for row in reader.alerts(10, open_only=True)] == ["open"]
    assert len(reader.alerts(1)) == 1
    reader.close()
    writer.close()


def test_quarantine_keeps_the_newest_rows_over_segments(folder: Path) -> None:
    writer = open_writer(folder, segment_seconds=1, quarantine_rows=3)
    for number in range(1, 6):
        bad = Quarantined(number, "t", "p", f"r{number}", "d", b"\xff", 1)
        writer.commit(replace(batch_of(number, number * S), quarantined=(bad,)))
    reader = open_reader(folder)
    assert [(n, bad.reason) for n, bad in reader.quarantined(10)] == [
        (5, "r5"),
        (4, "r4"),
        (3, "r3"),
    ]
    assert [n for n, _ in reader.quarantined(10, before=5)] == [4, 3]
    reader.close()
    writer.close()


@settings(deadline=None, max_examples=50)
@given(parts=st.lists(readings(4), max_size=5))
def test_the_latest_reading_is_the_newest_fresh_one(parts: list[Readings]) -> None:
    latest = Latest()
    obvious: dict[int, tuple[int, int, float, int]] = {}
    for part in parts:
        latest.take_in(part)
        columns = (part.time_us, part.arrival_us, part.series, part.value, part.flags)
        for time_us, arrival_us, row, value, flags in zip(
            *(c.tolist() for c in columns), strict=True
        ):
            if not flags & NOT_FRESH and (row not in obvious or time_us >= obvious[row][0]):
                obvious[row] = (time_us, arrival_us, value, flags)
    kept = latest.readings()
    newest = (kept.time_us, kept.arrival_us, kept.value, kept.flags)
    found = dict(
        zip(kept.series.tolist(), zip(*(c.tolist() for c in newest), strict=True), strict=True)
    )
    assert found == obvious


def test_the_latest_readings_are_carried_over(folder: Path) -> None:
    writer = open_writer(folder, segment_seconds=1)
    writer.commit(batch_of(1, S, new=SERIES, n=4))
    writer.commit(batch_of(2, 2 * S, n=2))
    writer.commit(batch_of(3, 3 * S))
    reader = open_reader(folder)
    batch, latest = reader.latest()
    assert batch == 2
    assert latest.time_us.tolist() == [2 * S, 2 * S + 1, S + 2, S + 3]
    reader.close()
    writer.close()


def test_prints_are_known_after_a_restart_and_over_segments(folder: Path) -> None:
    writer = open_writer(folder, segment_seconds=1, keep_seconds=0)
    old, kept, again = (Print(1, 7, b"o" * 16), Print(2, 7, b"k" * 16), Print(2, 8, b"a" * 16))
    writer.commit(replace(batch_of(1, S), prints=(old, kept)))
    writer.commit(replace(batch_of(2, 2 * S), prints=(again,)))
    writer.commit(batch_of(3, 3 * S))
    writer.release(3)
    writer.close()
    writer = open_writer(folder)
    assert writer.prints.epoch == 2
    assert writer.prints.knows(*kept)
    assert writer.prints.knows(*again)
    assert not writer.prints.knows(*old)
    assert not writer.prints.knows(2, 7, b"x" * 16)
    writer.close()


def test_every_kill_point_of_a_rotation_recovers(folder: Path, tmp_path: Path) -> None:
    writer = open_writer(folder)
    bad = Quarantined(1, "t", "p", "r", "d", b"", 0)
    first = replace(batch_of(1, S, new=SERIES, n=4), changes=(change_of("a"),), quarantined=(bad,))
    writer.commit(first)
    carried = rotation.Carried(
        writer.id, writer.now_us, SeriesTable.of(SERIES), Latest(first.inputs.readings),
        writer.prints, 10,
    )  # fmt: skip
    steps = rotation.rotate(folder, 2, carried, segment.segment_path(folder, 1))
    shutil.copytree(folder, tmp_path / "before")
    for step in steps:
        shutil.copytree(folder, tmp_path / step)
    writer.close()
    for killed in ("before", "swept", "filled", "synced", "renamed", "done"):
        copy = tmp_path / killed
        writer = open_writer(copy)
        assert (writer.last, writer.now_us) == (1, S)
        writer.commit(batch_of(2, 2 * S, n=1))
        writer.close()
        assert plain(read_all(copy)) == plain([first, batch_of(2, 2 * S, n=1)])
        reader = open_reader(copy)
        assert len(reader.alerts(10)) == len(reader.quarantined(10)) == 1
        reader.close()
        assert not list(copy.glob("*unfinished*"))


def test_files_beside_a_segment_that_is_gone_are_swept(folder: Path) -> None:
    folder.mkdir()
    stale = folder / "000000000001.db-wal"
    stale.write_bytes(b"stale")
    writer = open_writer(folder)
    writer.commit(batch_of(1, S))
    writer.close()
    assert len(read_all(folder)) == 1


KILLED_WRITER = """
import sys
from pathlib import Path
from ingest.segments import open_writer
from tests.ingest.batches import batch_of
writer = open_writer(Path(sys.argv[1]), segment_seconds=1)
while True:
    number = writer.last + 1
    writer.commit(batch_of(number, number * 20_000))
    print(number, flush=True)
"""


def test_after_kill_9_the_last_committed_batch_is_there(folder: Path) -> None:
    """The process is killed at three moments, and a reader looks before anybody writes again."""
    said = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED_WRITER, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        for _ in range(130):
            said = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        said = int(([str(said), *process.stdout.read().split()])[-1])
        process.stdout.close()
        process.wait()
        batches = read_all(folder)
        assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))
        assert len(batches) >= said
        writer = open_writer(folder)
        assert writer.last == len(batches)
        writer.close()


def test_a_reader_beside_the_writer_sees_whole_batches_only(folder: Path) -> None:
    writer = open_writer(folder, segment_bytes=20_000, keep_seconds=0)
    ended = threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        try:
            for number in range(1, 301):
                new = (Series("s", "d", f"c{number}", "current"),)
                rows = batch_of(number, number * S, new=new, n=number)
                writer.commit(rows)
                writer.release(number - 150)
        except BaseException as error:  # told by the assertion below
            failed.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    reader, after = open_reader(folder), 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        last_look = ended.is_set()
        batches = reader.read(after, 7)
        for batch in batches:
            assert batch.number == after + 1
            assert len(batch.inputs.readings) == after + 1
            assert batch.inputs.new_series == (Series("s", "d", f"c{after + 1}", "current"),)
            assert len(reader.table()) > after
            after = batch.number
        assert reader.last() >= after
        if last_look and not batches:
            break
    thread.join()
    assert failed == []
    assert after == 300
    assert len(names(folder)) > 1
    reader.close()
    writer.close()


def test_a_full_disk_is_an_error_with_nothing_written(folder: Path) -> None:
    """The limit on a file's size stands for the disk: SQLite's write fails in the same place."""
    writer = open_writer(folder)
    writer.commit(batch_of(1, S, new=SERIES, n=4))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    payload = os.urandom(4_096)
    bad = tuple(Quarantined(1, "t", "p", "r", "d", payload, 4_096) for _ in range(60))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, limits[1]))
    try:
        with pytest.raises(JournalError, match="batch 2 could not be written"):
            writer.commit(replace(batch_of(2, 2 * S, n=2), quarantined=bad))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert writer.last == 1
    assert len(read_all(folder)) == 1
    writer.commit(batch_of(2, 3 * S, n=1))
    writer.close()
    assert [batch.number for batch in read_all(folder)] == [1, 2]
