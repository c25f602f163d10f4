import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import US_PER_S, format_us
from ingest.dialect import Inbound, RefusedError
from ingest.dialects.native import DIALECT
from ingest.registry import Registry
from simulators.faults import FAULTS, Fault, FaultError, parse_fault, plant, write_truth
from simulators.fleet import Fleet
from simulators.message import Message
from tests.simulators.community import EVENING_US, HOUR_US, Run, few, part, rihuali, run

MODEL_FAULTS = sorted(code for code, kind in FAULTS.items() if kind.wire is None)
AT_US = EVENING_US + 600 * US_PER_S
HOURS = 1.5
_clean: dict[str, Run] = {}


def _place(code: str) -> str:
    kind = FAULTS[code]
    fitting = [word for word, device in rihuali().devices.items() if kind.fits(device)]
    return fitting[len(fitting) // 2]


def _clean_run(registry: Registry, word: str) -> Run:
    if word not in _clean:
        _clean[word] = run(registry, HOURS)
    return _clean[word]


def _shared(device: str) -> set[str]:
    """What the device shares water or sight with."""
    if device.startswith("supply"):
        return {"supply-1", "supply-2", "supply-3"}
    return {"sump-1", "sump-2"} if device.startswith("sump") else {device}


@pytest.mark.parametrize("code", MODEL_FAULTS)
def test_a_fault_changes_its_device_and_no_other(code: str) -> None:
    kind, device = FAULTS[code], _place(code)
    registry = few(kind.type, device)
    clean = _clean_run(registry, device)
    faulty = run(registry, HOURS, [plant(code, device, AT_US, registry)])
    changed = faulty.changed(clean)
    sighted = faulty.sightings[device] != clean.sightings[device]
    assert changed or sighted
    assert {word for word, _, _ in changed} <= _shared(device)
    offset_us = 60 * US_PER_S  # a device speaks up to so long after its model's step
    for series in changed:
        before = {t: v for t, v in faulty.values[series].items() if t < AT_US - offset_us}
        assert before.items() <= clean.values[series].items()


@pytest.mark.parametrize(
    ("code", "channel", "metric", "low", "high"),
    [
        ("C01", "main", "current.harmonic3", 0.2, 2),
        ("C02", "main", "current", 16, 25),
        ("C03", "main", "temperature", 70, 110),
        ("C04", "main", "current.residual", 300, 500),
        ("CP04", "main", "power.active", 8_700, 13_000),
        ("CP16", "main", "current.residual", 30, 100),
        ("CP20", "main", "state.door", 1, 1),
        ("P06", "main", "vibration.velocity.rms", 8.5, 20),
        ("P09", "bearing", "temperature", 95, 160),
        ("P10", "main", "pressure", 0, 290),
        ("P16", "main", "level", 1.6, 3),
        ("P19", "main", "state.selector", 1, 1),
        ("V03", "main", "video.frame_rate", 5, 15),
        ("V04", "main", "image.luma", 0, 20),
        ("V06", "main", "image.sharpness", 0, 0.05),
        ("V12", "main", "image.occlusion", 0.9, 1),
    ],
)
def test_a_fault_shows_where_it_should(
    code: str, channel: str, metric: str, low: float, high: float
) -> None:
    device = "supply-1" if code == "P06" else _place(code)
    registry = few(FAULTS[code].type, device)
    values = run(registry, HOURS, [plant(code, device, AT_US, registry)]).values
    hurt = [v for t, v in values[device, channel, metric].items() if t > AT_US + 60 * US_PER_S]
    assert any(low <= value <= high for value in hurt), (min(hurt), max(hurt))


def test_over_power_and_heat_befall_one_socket() -> None:
    registry = few("charging_post", "post-07")
    values = run(registry, 3, [plant("CP05", "post-07", AT_US, registry)]).values
    hot = [
        channel
        for (device, channel, metric), series in values.items()
        if device == "post-07" and metric == "temperature" and max(series.values()) > 65
    ]
    assert len(hot) == 1
    assert hot[0].startswith("port.")
    values = run(registry, 1, [plant("CP03", "post-07", AT_US, registry)]).values
    strong = [
        channel
        for (device, channel, metric), series in values.items()
        if device == "post-07" and metric == "power.active" and max(series.values()) > 1_100
        if channel != "main"
    ]
    assert len(strong) == 1


def test_a_stuck_sensor_repeats_itself_under_load() -> None:
    registry = few("charging_post", "post-07")
    fault = plant("CP13", "post-07", AT_US, registry)
    values = run(registry, 3, [fault]).values
    runs = {
        channel: len(set(list(series.values())[-60:]))
        for (device, channel, metric), series in values.items()
        if device == "post-07" and metric == "temperature" and len(series) > 120
    }
    assert sum(count == 1 for count in runs.values()) == 1


def test_a_dry_pump_gives_no_water_and_takes_little_power() -> None:
    values = run(few("pump", "supply-1"), 0.5, [plant("P01", "supply-1", AT_US, rihuali())]).values
    flow, power = (values["supply-1", "main", m] for m in ("flow", "power.active"))
    running = values["supply-1", "main", "state.run"]
    dry = [t for t in flow if t > AT_US + 20 * US_PER_S and running[t] == 1]
    assert dry
    assert max(flow[t] for t in dry) == 0
    assert max(power[t] for t in dry) < 0.45 * 5_500


@pytest.mark.parametrize(("meter", "camera"), [("m-b07-1", "cam-f07"), ("m-b01-1", "cam-e01")])
def test_the_camera_of_the_place_sees_a_flying_wire(meter: str, camera: str) -> None:
    registry = part("circuit_meter", "camera", building=meter[2:5])
    fault = plant("C01", meter, AT_US, registry)
    assert fault.witness == camera
    seen = run(registry, 1, [fault]).sightings[camera]
    assert {"ebike", "cable_hanging"} <= {one.kind for one in seen}
    assert plant("C01_unseen", meter, AT_US, registry).witness == ""


def _messages(faults: list[Fault], registry: Registry, hours: float = 1.0) -> list[Message]:
    fleet = Fleet(registry, seed=3, start_us=EVENING_US, faults=faults)
    return list(fleet.messages(EVENING_US + int(hours * HOUR_US)))


def _of(device: str, messages: list[Message]) -> list[Message]:
    registry = rihuali()
    wanted = registry.devices[device]
    mark = b'"d":"' + device.encode() + b'"'
    return [
        m
        for m in messages
        if m.topic == f"courtyard/v1/{wanted.principal}/up"
        and (mark in m.payload if wanted.principal != device else b'"d":' not in m.payload)
    ]


def test_a_silent_gateway_silences_its_children_and_the_broker_says_so() -> None:
    registry = part("circuit_meter", "gateway", building="b03")
    fault = plant("N01", "gw-b03", AT_US, registry, 1_200)
    messages = _messages([fault], registry)
    inside = [m for m in messages if fault.start_us <= m.time_us < fault.end_us]
    assert [m.topic for m in inside] == ["courtyard/v1/gw-b03/will"]
    assert json.loads(inside[0].payload)["state"] == "offline"
    back = [m for m in messages if m.topic.endswith("will") and m.time_us >= fault.end_us]
    assert [json.loads(m.payload)["state"] for m in back] == ["online"]
    assert all(m.retain for m in [*inside, *back])


def test_an_offline_post_says_nothing() -> None:
    registry = few("charging_post", "post-07")
    fault = plant("CP01", "post-03", AT_US, registry, 1_200)
    messages = _messages([fault], registry)
    assert not [m for m in _of("post-03", messages) if fault.active(m.time_us)]
    assert [m for m in _of("post-04", messages) if fault.active(m.time_us)]


def test_a_duplicate_is_the_same_message_twice() -> None:
    registry = part("circuit_meter", building="b03")
    clean = _of("m-b03-1", _messages([], registry))
    twice = _of(
        "m-b03-1", _messages([plant("N04_duplicate", "m-b03-1", EVENING_US, registry)], registry)
    )
    assert [m.payload for m in twice] == [m.payload for m in clean for _ in range(2)]


def test_disorder_swaps_neighbours_and_loses_none() -> None:
    registry = part("circuit_meter", building="b03")
    clean = _of("m-b03-1", _messages([], registry))
    fault = plant("N04_disorder", "m-b03-1", AT_US, registry, 1_200)
    mixed = _of("m-b03-1", _messages([fault], registry))
    assert [m.payload for m in mixed] != [m.payload for m in clean]
    assert sorted(m.payload for m in mixed) == sorted(m.payload for m in clean)


def test_a_backfill_comes_late_and_complete() -> None:
    registry = part("circuit_meter", building="b03")
    clean = _of("m-b03-1", _messages([], registry))
    fault = plant("N09_backfill", "m-b03-1", AT_US, registry, 1_800)
    late = _of("m-b03-1", _messages([fault], registry))
    assert sorted(m.payload for m in late) == sorted(m.payload for m in clean)
    assert not [m for m in late if fault.active(m.time_us)]
    held = [m for m in late if json.loads(m.payload)["t"] * 1_000 < m.time_us - US_PER_S]
    assert len(held) == 30


def test_an_unset_clock_counts_from_1970() -> None:
    registry = part("circuit_meter", building="b03")
    fault = plant("N07_unset_clock", "m-b03-1", AT_US, registry)
    times = [json.loads(m.payload)["t"] for m in _of("m-b03-1", _messages([fault], registry))]
    assert any(t < 86_400_000 for t in times)
    assert any(t > 1e12 for t in times)


def test_nan_makes_a_message_that_the_dialect_refuses() -> None:
    registry = part("circuit_meter", building="b03")
    fault = plant("N05_nan", "m-b03-1", AT_US, registry, 600)
    refused = 0
    for message in _messages([fault], registry):
        try:
            DIALECT.decode(Inbound(message.topic, message.payload, message.time_us), {})
        except RefusedError:
            refused += 1
            assert fault.active(message.time_us)
            assert b"NaN" in message.payload
    assert refused == 10


def test_the_truth_is_what_was_planted(tmp_path: Path) -> None:
    registry = rihuali()
    faults = [
        parse_fault("P10@supply-1@+2h", registry, EVENING_US),
        parse_fault("V04@cam-f01@2026-11-24T11:00:00Z@30m", registry, EVENING_US),
    ]
    fleet = Fleet(part("gateway"), seed=1, start_us=EVENING_US, faults=faults)
    write_truth(fleet.truth, tmp_path / "truth.ndjson")
    lines = [json.loads(line) for line in (tmp_path / "truth.ndjson").read_text().splitlines()]
    assert lines == [
        {
            "device": "cam-f01",
            "fault": "V04",
            "started_at": "2026-11-24T11:00:00.000Z",
            "ended_at": "2026-11-24T11:30:00.000Z",
        },
        {
            "device": "supply-1",
            "fault": "P10",
            "started_at": "2026-11-24T12:00:00.000Z",
            "ended_at": "2026-11-24T13:00:00.000Z",
        },
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P1@supply-1@+2h", "no fault 'P1'.*P01"),
        ("P10@m-b01-1@+2h", "P10 needs a pump, not 'm-b01-1' .it is a circuit_meter"),
        ("P10@supply-2@+2h", "none of the tags header.*supply-1"),
        ("P10@supply-9@+2h", "no such device.*supply-1"),
        ("P10@supply-1", "CODE@DEVICE@T"),
        ("P10@supply-1@tomorrow", "T is ISO 8601"),
        ("P10@supply-1@+2x", "no duration"),
        ("P10@supply-1@+2h@0m", "must last"),
    ],
)
def test_a_wrong_fault_says_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        parse_fault(text, rihuali(), EVENING_US)


@given(
    code=st.sampled_from(sorted(FAULTS)),
    minutes=st.integers(0, 10_000),
    lasts=st.integers(1, 10_000),
)
def test_a_fault_reads_back_as_it_was_written(code: str, minutes: int, lasts: int) -> None:
    device = _place(code)
    fault = parse_fault(f"{code}@{device}@+{minutes}m@{lasts}m", rihuali(), EVENING_US)
    start_us = EVENING_US + minutes * 60 * US_PER_S
    assert fault.truth.started_at == format_us(start_us)
    assert fault.truth.ended_at == format_us(start_us + lasts * 60 * US_PER_S)
    assert (fault.truth.device, fault.truth.fault) == (device, code)
