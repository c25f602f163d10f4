import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ingest.clock import US_PER_S, format_us, parse_us
from ingest.dialect import Inbound
from ingest.dialects.native import DIALECT
from ingest.site import read_registry
from simulators.recorded import (
    Recording,
    RecordingError,
    Span,
    circuit_recordings,
    expected_readings,
    implausible_readings,
    pump_recording,
    pump_recordings,
    read_charges,
    recorded_messages,
    recorded_truth,
    skab_files,
    write_readings,
)
from tests.simulators.community import EVENING_US, SITES

COUNT = 20


@pytest.fixture(scope="session")
def data() -> Path:
    folder = os.environ.get("COURTYARD_RECORDINGS")
    if not folder:
        pytest.skip("COURTYARD_RECORDINGS names no folder of recordings")
    return Path(folder) / "data"


def _small() -> Recording:
    return Recording(
        "circuit-01",
        "circuit_meter",
        "made here",
        (("main", "power.active"), ("main", "voltage")),
        np.arange(3, dtype=np.int64) * 60 * US_PER_S,
        np.asarray([[100.0, 230.0], [np.nan, 231.0], [102.5, np.nan]]),
        (Span("C01_x", 60 * US_PER_S, 120 * US_PER_S),),
    )


def test_what_was_not_recorded_is_not_published() -> None:
    registry = read_registry(SITES / "recorded.yaml")
    values = []
    for message in recorded_messages([_small()], registry, EVENING_US):
        decoded = DIALECT.decode(Inbound(message.topic, message.payload, message.time_us), {})
        assert not decoded.flaws
        values += [(seen.metric, seen.value, seen.time_us) for seen in decoded.observations]
    assert values == [
        ("power.active", 100.0, EVENING_US),
        ("voltage", 230.0, EVENING_US),
        ("voltage", 231.0, EVENING_US + 60 * US_PER_S),
        ("power.active", 102.5, EVENING_US + 120 * US_PER_S),
    ]
    assert expected_readings([_small()]) == len(values)


def test_labels_are_shifted_with_the_recording() -> None:
    truth = recorded_truth([_small()], EVENING_US)[0]
    assert truth.started_at == format_us(EVENING_US + 60 * US_PER_S)
    assert truth.ended_at == format_us(EVENING_US + 120 * US_PER_S)
    assert (truth.device, truth.fault) == ("circuit-01", "C01_x")


def test_a_device_that_the_site_lacks_is_named() -> None:
    registry = read_registry(SITES / "rihuali.yaml")
    with pytest.raises(RecordingError, match="circuit-01"):
        list(recorded_messages([_small()], registry, EVENING_US))


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no recordings in"):
        skab_files(tmp_path)
    with pytest.raises(RecordingError, match=r"no file .*ebike_power.csv"):
        read_charges(tmp_path)


def test_pump_recordings_are_complete_and_in_our_units(data: Path) -> None:
    recordings = pump_recordings(data)
    assert len(recordings) == 21
    for recording, file in zip(recordings, skab_files(data), strict=True):
        lines = file.read_text().splitlines()
        assert recording.readings == (len(lines) - 1) * 8
        assert (np.diff(recording.time_us) > 0).all()
    first = pump_recording(data / "skab" / "anomaly-free" / "anomaly-free.csv")
    named = dict(zip(first.channels, first.value[0].tolist(), strict=True))
    assert named["main", "pressure"] == pytest.approx(38.2638)
    assert named["main", "flow"] == pytest.approx(122.664 * 0.06)
    assert named["bearing.2", "vibration.acceleration.rms"] == pytest.approx(0.275154)
    assert first.spans == ()


def test_labelled_rows_are_the_spans(data: Path) -> None:
    file = data / "skab" / "valve1" / "0.csv"
    with file.open() as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))
    start_us = parse_us(rows[0]["datetime"])
    recording = pump_recording(file)
    for row, at_us in zip(rows, recording.time_us.tolist(), strict=True):
        assert parse_us(row["datetime"]) - start_us == at_us
        inside = any(span.start_us <= at_us < span.end_us for span in recording.spans)
        assert inside == (row["anomaly"] == "1.0")


def test_circuits_follow_the_recipe(data: Path) -> None:
    circuits = circuit_recordings(data, seed=1, count=COUNT)
    loads = Counter(
        "charge" if circuit.spans else "laptop" if "laptop" in circuit.source else "nothing"
        for circuit in circuits
    )
    assert loads == {"charge": 10, "laptop": 4, "nothing": 6}
    charges = {charge.kind: charge for charge in read_charges(data)}
    assert set(charges) == {"cut", "complete", "taper_only"}
    for circuit in circuits:
        assert circuit.value.shape == (1_440, 1)
        assert np.isfinite(circuit.value).all()
        for span in circuit.spans:
            kind = span.fault.split("_x")[0].removeprefix("C01_")
            assert (span.end_us - span.start_us) // (60 * US_PER_S) == charges[kind].minutes
            assert 0 <= span.start_us < span.end_us <= 86_400 * US_PER_S
    assert {span.fault.rsplit("x", 1)[1] for c in circuits for span in c.spans} == {"1", "2", "3.5"}


def test_a_charge_adds_its_power_and_nothing_else(data: Path) -> None:
    charge = next(c for c in read_charges(data) if c.kind == "complete")
    grid = charge.on_grid()
    assert grid.max() == pytest.approx(101.5, abs=0.5)
    assert grid[0] == pytest.approx(98.173)
    assert grid[-1] == pytest.approx(4.6, abs=0.2)
    single, large = (
        circuit_recordings(data, seed=5, count=COUNT, levels=(level,)) for level in (1.0, 3.5)
    )
    for one, other in zip(single, large, strict=True):
        added = (other.value - one.value)[:, 0]
        spans = one.spans
        inside = np.zeros(1_440, np.bool_)
        for span in spans:
            inside[span.start_us // (60 * US_PER_S) : span.end_us // (60 * US_PER_S)] = True
        assert np.abs(added[~inside]).max(initial=0) <= 0.2
        if spans:
            assert added[inside].max() > 200


def test_the_same_seed_gives_the_same_circuits(data: Path) -> None:
    one, two = (circuit_recordings(data, seed=9, count=6) for _ in range(2))
    assert all((a.value == b.value).all() for a, b in zip(one, two, strict=True))
    other = circuit_recordings(data, seed=10, count=6)
    assert any((a.value != b.value).any() for a, b in zip(one, other, strict=True))


def test_the_stream_holds_every_reading_once_and_in_order(data: Path) -> None:
    registry = read_registry(SITES / "recorded.yaml")
    recordings = [*pump_recordings(data)[:4], *circuit_recordings(data, seed=1, count=COUNT)]
    count, newest_us, seen = 0, 0, set()
    for message in recorded_messages(recordings, registry, EVENING_US):
        decoded = DIALECT.decode(Inbound(message.topic, message.payload, message.time_us), {})
        assert not decoded.flaws
        assert message.time_us >= newest_us
        newest_us = message.time_us
        for row in decoded.observations:
            seen.add((decoded.principal, row.device, row.channel, row.metric, row.time_us))
            count += 1
    assert count == len(seen) == expected_readings(recordings)


def test_the_table_for_replay_says_the_same(data: Path, tmp_path: Path) -> None:
    recordings = [pump_recordings(data)[0], *circuit_recordings(data, seed=1, count=4)]
    file = tmp_path / "readings.csv"
    assert write_readings(recordings, EVENING_US, file) == expected_readings(recordings)
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == expected_readings(recordings)
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert rows[0]["time"] == format_us(EVENING_US)
    assert {row["type"] for row in rows} == {"pump", "circuit_meter"}


def test_what_the_loops_pressure_sensor_makes_up_is_counted(data: Path) -> None:
    recordings = pump_recordings(data)
    below = sum(int((r.value[:, 3] < -101.4).sum()) for r in recordings)
    assert implausible_readings(recordings) == below > 0
