from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from ingest.readings import Readings, Series
from rules.long_table import LongTableError, read_long
from rules.replay import Episode, episode_line, replay
from rules.rulebook import load_rulebook
from tests.rules.community import REGISTRY, RULES, T0, S

BOOK = load_rulebook(
    "site.yaml",
    """
rules:
  - id: low
    on: {type: pump}
    when: pressure < param.set_pressure - 50 kPa
    for: 2s
    severity: serious
  - id: gone
    on: {type: pump}
    kind: absent
    after: 5m
    severity: warning
""",
)

HEADER = "time,device,type,channel,metric,value\n"
CSV = HEADER + (
    "2026-05-01T08:00:04Z,p9,pump,main,pressure,280\n"
    "2026-05-01T08:00:00Z,p9,pump,main,pressure,340\n"
    "2026-05-01T08:00:02Z,p9,pump,main,pressure,280\n"
    "2026-05-01T08:00:03Z,p9,pump,main,pressure,280\n"
    "2026-05-01T08:00:05Z,p9,pump,main,pressure,330\n"
    "2026-05-01T08:20:00Z,p9,pump,main,state.run,running\n"
)


def _file(folder: Path, text: str, name: str = "rows.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def _replayed(file: Path, batch: int = 100_000) -> list[str]:
    table = read_long(file)
    found = replay(BOOK, None, table.slices(), types=table.types, batch=batch)
    return [episode_line(episode) for episode in found]


def test_a_line_is_what_the_contract_says(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in _replayed(_file(tmp_path, CSV))]
    assert lines[0] == {
        "rule": "low",
        "device": "p9",
        "channel": "main",
        "severity": "serious",
        "started_at": "2026-05-01T08:00:04.000Z",
        "ended_at": "2026-05-01T08:00:05.000Z",
        "episode": lines[0]["episode"],
        "evidence": {
            "since": "2026-05-01T08:00:02.000Z",
            "values": {"pressure": 280.0},
            "parameters": {"set_pressure": 340.0},
        },
    }
    assert [(one["rule"], one["started_at"], one["ended_at"]) for one in lines[1:]] == [
        ("gone", "2026-05-01T08:05:05.000Z", "2026-05-01T08:20:00.000Z")
    ]


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_the_size_of_a_batch_changes_nothing(tmp_path: Path, batch: int) -> None:
    file = _file(tmp_path, CSV)
    assert _replayed(file, batch=batch) == _replayed(file)


def test_time_ends_with_the_last_row(tmp_path: Path) -> None:
    rows = CSV.split("\n")[:6]
    assert len(_replayed(_file(tmp_path, "\n".join(rows)))) == 1


def test_an_alert_that_still_fires_has_no_end(tmp_path: Path) -> None:
    rows = CSV.split("\n")[:5]
    assert '"ended_at":null' in _replayed(_file(tmp_path, "\n".join(rows)))[0]


def test_no_rows_are_no_episodes(tmp_path: Path) -> None:
    assert _replayed(_file(tmp_path, HEADER)) == []


def test_parquet_is_the_same_as_csv(tmp_path: Path) -> None:
    csv = _file(tmp_path, CSV.replace("running", "1"))
    parquet = tmp_path / "rows.parquet"
    for kind in ("TIMESTAMP", "VARCHAR"):
        with duckdb.connect() as db:
            db.execute(
                f"COPY (SELECT * REPLACE (time::{kind} AS time, value::DOUBLE AS value) "
                f"FROM read_csv('{csv}', all_varchar = true)) TO '{parquet}' (FORMAT parquet)"
            )
        assert _replayed(parquet) == _replayed(csv)


def test_the_site_is_a_column_or_given(tmp_path: Path) -> None:
    assert read_long(_file(tmp_path, CSV), "north").series[0].site == "north"
    text = "site,value,metric,channel,type,device,time\nsouth,1,pressure,main,pump,p,2026-05-01\n"
    assert read_long(_file(tmp_path, text)).series == (Series("south", "p", "main", "pressure"),)


ROW = "2026-05-01T08:00:04Z,p9,pump,main,pressure,280\n"


ALL_BAD = (
    ("", "1: column 'time' is missing: the first line must be time,device,type"),
    (HEADER.replace("value", "val"), "1: column 'val' is unknown"),
    (HEADER + ROW + ROW.replace("280", "x"), "3: value 'x' is none: write a number in kPa"),
    (HEADER + ROW.replace("280", "nan"), "2: value 'nan' is none"),
    (HEADER + ROW.replace("280", ""), "2: value '' is none"),
    (HEADER + ROW.replace("-05-", "-15-"), "2: time '2026-15-01T08:00:04Z' is none: write ISO"),
    (HEADER + ROW.replace("2026", "1926"), "2: time '1926-05-01T08:00:04Z' is none"),
    (HEADER + ROW.replace("pressure", "presure"), "2: no metric 'presure'; did you mean"),
    (HEADER + ROW.replace("pump", "pmp"), "2: no device type 'pmp'; did you mean 'pump'?"),
    (HEADER + ROW + ROW.replace("pump", "gateway"), "3: p9 is a gateway here and a pump"),
    (HEADER + ROW + "a,b\n", "3: 2 fields where there must be 6"),
    (HEADER + ROW.replace("p9", ""), "2: device must have 1 to 256 characters"),
    (HEADER + ROW.replace("pressure,280", "state.run,x"), "'x' is none: write one of stopped"),
    (HEADER + ROW + '"x', "3: unexpected end of data"),
)


@pytest.mark.parametrize(("text", "message"), ALL_BAD)
def test_a_bad_row_is_named_with_what_would_be_right(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(LongTableError) as caught:
        read_long(_file(tmp_path, text))
    assert message in str(caught.value)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(HEADER.encode() + ROW.replace("p9", "泵").encode("gb18030"))
    with pytest.raises(LongTableError, match="not UTF-8"):
        read_long(file)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT 1 AS time", "column 'device' is missing"),
        ("SELECT * REPLACE (DATE '2026-05-01' AS time) FROM good", "time is a DATE"),
        ("SELECT * REPLACE ('then' AS time) FROM good", "row 1: time is none"),
        ("SELECT * REPLACE ('much' AS value) FROM good", "row 1: value must be a number"),
        ("SELECT * REPLACE ('nan'::DOUBLE AS value) FROM good", "row 1: value must be a number"),
        ("SELECT * REPLACE ('presure' AS metric) FROM good", "row 1: no metric 'presure'"),
    ],
)
def test_a_bad_parquet_row_is_named(tmp_path: Path, query: str, message: str) -> None:
    file = tmp_path / "rows.parquet"
    with duckdb.connect() as db:
        db.execute(f"CREATE TABLE good AS FROM read_csv('{_file(tmp_path, HEADER + ROW)}')")
        db.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
    with pytest.raises(LongTableError) as caught:
        read_long(file)
    assert message in str(caught.value)


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LongTableError, match="not a Parquet file"):
        read_long(_file(tmp_path, "hello", "rows.parquet"))
    with pytest.raises(OSError, match="no such file"):
        read_long(tmp_path / "none.parquet")


def test_slices_that_go_back_in_time_are_refused() -> None:
    part = Readings.of([T0, T0 - 1], [T0, T0 - 1], [0, 0], [1.0, 1.0], [0, 0])
    with pytest.raises(ValueError, match="ordered by arrival"):
        list(replay(RULES, REGISTRY, [(part, (Series("s", "p1", "main", "pressure"),))]))


def test_progress_is_told_and_episodes_are_ordered() -> None:
    n = 400
    time = np.repeat(T0 + np.arange(n // 2) * S, 2)
    value = np.where(np.arange(n) // 2 % 40 < 20, 2.0, 0.0)
    flags = np.zeros(n, np.uint16)
    part = Readings(time, time, np.tile(np.array([0, 1], np.int32), n // 2), value, flags)
    series = tuple(Series("s", device, "main", "pressure") for device in ("p2", "p1"))
    seen: list[tuple[int, int]] = []
    found: list[Episode] = list(
        replay(
            RULES,
            REGISTRY,
            [(part, series)],
            batch=100,
            progress=lambda rows, at: seen.append((rows, at)),
        )
    )
    assert [rows for rows, _ in seen] == [100, 200, 300, 400]
    assert len(found) > 10
    keys = [(one.started_us, one.device, one.channel, one.rule) for one in found]
    assert keys == sorted(keys)
