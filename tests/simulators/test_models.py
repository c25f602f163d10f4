import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.clock import US_PER_S, parse_us
from ingest.registry import device_type
from ingest.shelf import shelf_words
from simulators.chargers import CURRENT, EMPTY, FLOAT, PACKS, VOLTAGE, Chargers, Draw
from simulators.fleet import Fleet
from simulators.model import Surroundings, model_of
from tests.simulators.community import HOUR_US, few, part, rihuali, run

MIDNIGHT_US = parse_us("2026-01-14T16:00:00Z")  # 00:00 in Tianjin, in winter
TYPES = shelf_words("simulators.models")
DAY_S = 86_400


def test_every_device_type_that_the_site_has_can_be_simulated() -> None:
    assert {device.type for device in rihuali().devices.values()} == set(TYPES)


@pytest.mark.parametrize("word", TYPES)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), day=st.integers(0, 364))
def test_a_day_stays_within_the_bounds_of_the_type(word: str, seed: int, day: int) -> None:
    devices = [d for d in rihuali().devices.values() if d.type == word][:6]
    kind = device_type(word)
    model = model_of(word)(devices, Surroundings(rihuali(), seed, dirty=0.5))
    start_us = MIDNIGHT_US + day * DAY_S * US_PER_S
    step_s = 60 if word == "pump" else 300
    for step in range(DAY_S // step_s):
        for column in model.step(start_us + step * step_s * US_PER_S, step_s).columns:
            low, high = kind.bounds(column.channel, column.metric)
            assert column.value.shape == (len(devices),)
            assert np.isfinite(column.value).all()
            assert column.value.min() >= low, (column.channel, column.metric)
            assert column.value.max() <= high, (column.channel, column.metric)


@pytest.mark.parametrize("word", TYPES)
def test_counters_never_go_back(word: str) -> None:
    counters = {"energy.active.import", "starts", "runtime"}
    for (_, _, metric), series in run(part(word, building="b14"), 3).values.items():
        if metric in counters:
            values = [series[moment] for moment in sorted(series)]
            assert values == sorted(values)


def test_the_same_arguments_give_the_same_bytes() -> None:
    def once(seed: int) -> int:
        fleet = Fleet(
            part("pump", "gateway", "circuit_meter", building="b14"),
            seed=seed,
            start_us=MIDNIGHT_US,
        )
        crc = 0
        for message in fleet.messages(MIDNIGHT_US + HOUR_US):
            crc = zlib.crc32(message.payload, crc)
        return crc

    assert once(7) == once(7)
    assert once(7) != once(8)


def test_a_charge_rises_then_tapers_then_floats() -> None:
    chargers = Chargers(200)
    everywhere = np.ones(200, np.bool_)
    chargers.plug(everywhere, Draw.of(np.random.default_rng(1), 200))
    chargers.leave_at[:] = np.inf
    chargers.linger_s[:] = 3_600
    watt = np.stack([chargers.advance(60) for _ in range(16 * 60)])
    assert (chargers.stage == EMPTY).all()
    peak = watt.max(axis=0)
    assert peak.min() > 70
    assert peak.max() < 550
    start = watt[5]
    assert (peak > start).all()
    # 12 to 25 % up in the constant-current stage of a pack that is charged from low down
    assert 1.02 < np.median(peak / start) < 1.25
    assert (watt[-1] == 0).all()


def test_stages_follow_each_other() -> None:
    chargers = Chargers(1)
    chargers.plug(np.ones(1, np.bool_), Draw(np.full((9, 1), 0.5), np.asarray([0.3])))
    chargers.leave_at[:] = np.inf
    seen: list[int] = []
    for _ in range(14 * 60):
        chargers.advance(60)
        stage = int(chargers.stage[0])
        if not seen or seen[-1] != stage:
            seen.append(stage)
    assert seen[1:] == [CURRENT, VOLTAGE, FLOAT, EMPTY] or seen[1:] == [CURRENT, VOLTAGE, FLOAT]


def test_all_packs_are_met() -> None:
    chargers = Chargers(5_000)
    chargers.plug(np.ones(5_000, np.bool_), Draw.of(np.random.default_rng(2), 5_000))
    share = np.bincount(chargers.pack, minlength=len(PACKS)) / 5_000
    assert np.abs(share - [pack.share for pack in PACKS]).max() < 0.03


def test_posts_are_busiest_in_the_evening() -> None:
    devices = [d for d in rihuali().devices.values() if d.type == "charging_post"]
    model = model_of("charging_post")(devices, Surroundings(rihuali(), 1))
    busy = []
    for step in range(2 * 288):
        frame = model.step(MIDNIGHT_US + step * 300 * US_PER_S, 300)
        sessions = next(c for c in frame.columns if c.metric == "count.sessions")
        busy.append(sessions.value.sum())
    second = np.asarray(busy[288:])
    assert 100 < second.max() < 220
    assert 20 <= np.argmax(second) / 12 < 24
    assert second.min() < 0.5 * second.max()


def test_the_supply_pressure_is_held() -> None:
    pressure = run(few("pump", "supply-1"), 24, start_us=MIDNIGHT_US).values[
        "supply-1", "main", "pressure"
    ]
    values = np.asarray(list(pressure.values()))
    assert np.abs(values - 340).max() < 40
    assert (np.abs(values - 340) < 8).mean() > 0.95


def test_the_jockey_starts_a_few_times_a_day_and_the_fire_pump_on_tuesday() -> None:
    monday_us = parse_us("2026-11-22T16:00:00Z")
    values = run(few("pump", "fire-1"), 36, start_us=monday_us).values
    starts = list(values["jockey-1", "main", "starts"].values())
    assert 3 <= starts[-1] - starts[0] <= 10
    running = [t for t, v in sorted(values["fire-1", "main", "state.run"].items()) if v == 1]
    tuesday_us = monday_us + 34 * HOUR_US
    assert running
    assert tuesday_us <= min(running) <= max(running) <= tuesday_us + 150 * US_PER_S


def test_cameras_see_bikes_at_entrances_and_sheds_are_not_watched() -> None:
    registry = part("camera")
    sightings = run(registry, 6).sightings
    assert sightings
    for device, seen in sightings.items():
        assert registry.devices[device].tags & {"facade", "entrance"}
        phases: dict[str, list[str]] = {}
        for one in seen:
            phases.setdefault(one.id, []).append(one.phase)
        for words in phases.values():
            assert words[0] == "start"
            assert set(words[1:-1]) <= {"update"}
