"""The commands as a user runs them: what goes in, what comes out, and how mistakes are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.service import run_courtyard

RULES = """\
rules:
  - id: P10_supply_pressure_low
    on: {type: pump}
    when: pressure < param.set_pressure - 50 kPa
    for: 2m
    clear: pressure > param.set_pressure - 30 kPa
    clear_for: 1m
    severity: serious
    message: {zh: "{building}供水压力低 {pressure}", en: "Supply pressure low in {building}"}
"""
READINGS = """\
time,device,type,channel,metric,value
2026-05-01T08:00:00Z,p1,pump,main,pressure,340
2026-05-01T08:00:10Z,p1,pump,main,pressure,200
2026-05-01T08:01:10Z,p1,pump,main,pressure,200
2026-05-01T08:02:20Z,p1,pump,main,pressure,200
2026-05-01T08:03:20Z,p1,pump,main,pressure,340
2026-05-01T08:05:20Z,p1,pump,main,pressure,340
"""


def lines(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def up(rows: list[list[object]], **more: object) -> str:
    body = {"v": 1, "boot": "b", "seq": 1, "t": 1_790_000_000_000, "m": rows}
    return json.dumps({"topic": "courtyard/v1/p1/up", "payload": json.dumps(body), **more})


def test_decode_answers_every_line_in_its_place() -> None:
    given = [
        up([["port.1", "power.active", 812.4], ["port.1", "state.relay", "closed"]]),
        "no json",
        up([["main", "voltage", 230], ["main", "voltage", 1e6]], retain=True),
        json.dumps({"topic": "courtyard/v1/p1/will", "payload": '{"state":"offline"}'}),
        json.dumps({"topic": "courtyard/v1/p1/up", "payload_b64": "/w=="}),
    ]
    done = run_courtyard("decode", "--dialect", "native", stdin="\n".join(given).encode())
    assert (done.returncode, done.stderr) == (0, b"")
    first, second, third, fourth, fifth = lines(done.stdout)
    assert [entry["line"] for entry in (first, second, third, fourth, fifth)] == [1, 2, 3, 4, 5]
    assert first["observations"] == [
        {
            "device": "p1",
            "channel": "port.1",
            "metric": "power.active",
            "value": 812.4,
            "unit": "W",
            "time": "2026-09-21T14:13:20.000Z",
            "flags": [],
        },
        {
            "device": "p1",
            "channel": "port.1",
            "metric": "state.relay",
            "value": "closed",
            "unit": "1",
            "time": "2026-09-21T14:13:20.000Z",
            "flags": [],
        },
    ]
    assert "not JSON" in second["error"]
    assert [entry["flags"] for entry in third["observations"]] == [["retained"]]
    assert third["flaws"][0]["where"] == "main voltage"
    assert fourth["presence"][0]["state"] == "offline"
    assert "not a native up" in fifth["error"]


def test_decode_judges_times_where_the_line_says_when_it_arrived() -> None:
    late = up([["main", "voltage", 230]], arrived_at="2026-09-21T15:00:00Z")
    ahead = up([["main", "voltage", 230]], arrived_at="2026-09-21T14:00:00Z")
    done = run_courtyard("decode", "--dialect", "native", stdin=f"{late}\n{ahead}\n".encode())
    told = [
        (entry["observations"][0]["time"], entry["observations"][0]["flags"])
        for entry in lines(done.stdout)
    ]
    assert told == [
        ("2026-09-21T14:13:20.000Z", ["late"]),
        ("2026-09-21T14:00:00.000Z", ["clock_ahead"]),
    ]


def test_decode_with_a_registry_names_devices_and_refuses_strangers(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(
        "site: {id: s, name: {zh: a, en: b}}\n"
        "devices: [{id: meter-1, type: circuit_meter, principal: p1, external_ids: [x9]}]\n"
    )
    child = json.dumps({"v": 1, "d": "x9", "m": [["main", "voltage", 230]]})
    stranger = json.dumps({"v": 1, "d": "x8", "m": [["main", "voltage", 230]]})
    given = "\n".join(
        json.dumps({"topic": "courtyard/v1/p1/up", "payload": text}) for text in (child, stranger)
    )
    done = run_courtyard(
        "decode", "--dialect", "native", "--registry", str(site), stdin=given.encode()
    )
    known, unknown = lines(done.stdout)
    assert known["observations"][0]["device"] == "meter-1"
    assert "may not speak for 'x8'" in unknown["error"]


def test_a_dialect_that_is_not_there_names_those_that_are() -> None:
    done = run_courtyard("decode", "--dialect", "natve")
    assert done.returncode == 1
    assert b"did you mean 'native'" in done.stderr


def test_rules_check_tells_line_and_column(tmp_path: Path) -> None:
    book = tmp_path / "rulebook.yaml"
    book.write_text(RULES.replace("pressure <", "presure <").replace("severity", "serverity"))
    done = run_courtyard("rules", "check", str(book))
    assert done.returncode == 1
    told = done.stdout.decode().splitlines()
    assert any(line.startswith(f"{book}:8:5 rules.0.serverity ") for line in told), told
    book.write_text(RULES.replace("pressure <", "presure <"))
    (line,) = run_courtyard("rules", "check", str(book)).stdout.decode().splitlines()
    assert line.startswith(f"{book}:4:11 rules.0.when ")
    assert "did you mean 'pressure'" in line


def test_rules_check_is_content_with_a_right_one(tmp_path: Path) -> None:
    book = tmp_path / "rulebook.yaml"
    book.write_text(RULES)
    done = run_courtyard("rules", "check", str(book))
    assert (done.returncode, done.stderr) == (0, b"")


def test_rules_schema_is_a_json_schema() -> None:
    schema = json.loads(run_courtyard("rules", "schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("batch", ["1", "2", "5000"])
def test_rules_replay_gives_one_line_an_episode(tmp_path: Path, batch: str) -> None:
    book, readings, out = tmp_path / "rulebook.yaml", tmp_path / "r.csv", tmp_path / "out.ndjson"
    book.write_text(RULES)
    readings.write_text(READINGS)
    files = ["--rulebook", str(book), "--readings", str(readings), "--out", str(out)]
    done = run_courtyard("rules", "replay", *files, "--batch", batch)
    assert done.returncode == 0, done.stderr
    (episode,) = lines(out.read_bytes())
    assert episode["evidence"].pop("since") == "2026-05-01T08:00:10.000Z"
    assert episode.pop("evidence")["values"] == {"pressure": 200.0}
    assert episode == {
        "rule": "P10_supply_pressure_low",
        "device": "p1",
        "channel": "main",
        "severity": "serious",
        "started_at": "2026-05-01T08:02:10.000Z",
        "ended_at": "2026-05-01T08:04:20.000Z",
        "episode": "e3068095312f48bf",
    }


def test_rules_replay_names_the_line_of_a_bad_reading(tmp_path: Path) -> None:
    readings = tmp_path / "r.csv"
    readings.write_text(READINGS.replace("main,pressure,340", "main,presure,340", 1))
    done = run_courtyard("rules", "replay", "--readings", str(readings))
    assert done.returncode == 1
    assert f"{readings}:2: no metric 'presure'; did you mean 'pressure'?".encode() in done.stderr


def test_a_broken_rulebook_stops_the_start_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "rulebook.yaml").write_text(RULES.replace("2m", "2x"))
    (tmp_path / "site.yaml").write_text("site: {id: s, name: {zh: a, en: b}}\n")
    config = tmp_path / "courtyard.toml"
    config.write_text('site = "site.yaml"\nrulebook = "rulebook.yaml"\n')
    for command in ("run", "watch"):
        done = run_courtyard(command, "--config", str(config))
        assert done.returncode == 1
        assert f"{tmp_path}/rulebook.yaml:5:10 rules.0.for ".encode() in done.stderr


def test_a_wrong_setting_stops_the_start_with_its_name(tmp_path: Path) -> None:
    config = tmp_path / "courtyard.toml"
    config.write_text('site = "site.yaml"\n[http]\nbind = "0.0.0.0"\n[mqtt]\nulr = "x"\n')
    done = run_courtyard("run", "--config", str(config))
    assert done.returncode == 1
    assert b"http.bind: Value error, binds to 127.0.0.1" in done.stderr
    assert b"mqtt.ulr: Extra inputs are not permitted" in done.stderr


def test_a_simulated_clock_must_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("site: {id: s, name: {zh: a, en: b}}\n")
    config = tmp_path / "courtyard.toml"
    config.write_text('site = "site.yaml"\n[clock]\nspeed = 60\n')
    done = run_courtyard("run", "--config", str(config))
    assert done.returncode == 1
    assert b"allow_simulated = true" in done.stderr


def test_simulate_score_matches_truth_and_alerts(tmp_path: Path) -> None:
    truth, alerts = tmp_path / "truth.ndjson", tmp_path / "alerts.ndjson"
    truth.write_text(
        '{"device":"p1","fault":"P10","started_at":"2026-05-01T08:00:00.000Z",'
        '"ended_at":"2026-05-01T09:00:00.000Z"}\n'
    )
    alerts.write_text(
        '{"rule":"P10_supply_pressure_low","device":"p1","channel":"main","severity":"serious",'
        '"started_at":"2026-05-01T08:02:10.000Z","ended_at":null,"episode":"x","evidence":{}}\n'
    )
    done = run_courtyard("simulate", "score", str(truth), str(alerts))
    assert done.returncode == 0, done.stderr
    assert b"P10" in done.stdout
