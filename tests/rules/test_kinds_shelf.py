"""Every kind on the shelf, by the shipped rulebook: cuts, checkpoints and NaN change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.changes import Change
from ingest.inputs import Event, Inputs
from ingest.readings import Readings, Series
from ingest.registry import device_type
from ingest.shelf import shelf_words
from rules.checkpoint import dump, load
from rules.engine import start, step
from rules.rulebook import shipped_rulebook
from tests.rules.community import REGISTRY, T0, S

HOURS = 4
MINUTE = 60 * S


def _stream(seed: int) -> Inputs:
    """Minutes of every device and metric of the community, some missing, some NaN; on the circuit
    a charger comes and goes; a camera sees a cable now and then."""
    random = np.random.default_rng(seed)
    series: list[Series] = []
    blocks = []
    for name, device in REGISTRY.devices.items():
        for pattern, quantities in device_type(device.type).channels.items():
            channel = "main" if pattern == "*" else pattern.replace("*", "1")
            for quantity in quantities:
                blocks.append(_block(random, len(series), quantity.metric, quantity.high))
                series.append(Series("s", name, channel, quantity.metric))
    order = np.argsort(np.concatenate([block[0] for block in blocks]), kind="stable")
    arrival, numbers, value = (np.concatenate(parts)[order] for parts in zip(*blocks, strict=True))
    flags = np.zeros(len(arrival), np.uint16)
    readings = Readings(arrival - S, arrival, numbers.astype(np.int32), value, flags)
    return Inputs(readings, _events(random), new_series=tuple(series))


def _block(
    random: np.random.Generator, number: int, metric: str, high: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    minutes = np.flatnonzero(random.random(60 * HOURS) > 0.05)
    value = random.uniform(0, min(high, 400), len(minutes))
    if metric == "power.active":
        charging = (minutes > 40) & (minutes < 200)
        value = 60 + random.normal(0, 1, len(minutes)) + np.where(charging, 150.0, 0.0)
    value[random.random(len(minutes)) < 0.01] = np.nan
    return T0 + (minutes + 1) * MINUTE, np.full(len(minutes), number), value


def _events(random: np.random.Generator) -> tuple[Event, ...]:
    times = np.sort(random.integers(T0, T0 + HOURS * 60 * MINUTE, 40))
    phases = random.choice(np.array(["start", "update", "end"]), len(times)).tolist()
    return tuple(
        Event("s", "c1", "zone.a", "cable_hanging", "1", phase, int(at), int(at))
        for at, phase in zip(times, phases, strict=True)
    )


def _cut(batch: Inputs, now_us: list[int]) -> list[Inputs]:
    """What came in up to each moment, and after the one before it."""
    parts: list[Inputs] = []
    before = 0
    for now in now_us:
        rows = (batch.readings.arrival_us > before) & (batch.readings.arrival_us <= now)
        events = tuple(event for event in batch.events if before < event.arrival_us <= now)
        new = batch.new_series if not parts else ()
        parts.append(Inputs(batch.readings.take(rows), events, new_series=new))
        before = now
    return parts


@pytest.mark.parametrize("seed", [1, 2])
def test_cuts_and_checkpoints_change_nothing_whatever_the_kind(seed: int) -> None:
    book, batch = shipped_rulebook(), _stream(seed)
    assert set(shelf_words("rules.kinds")) <= {rule.kind_word for rule in book.rules}
    end = T0 + (HOURS * 60 + 30) * MINUTE
    _, expected = step(start(book, REGISTRY, T0), batch, end)
    random = np.random.default_rng(seed)
    cuts = [*np.sort(random.integers(T0, end, 40)).tolist(), end]
    state, changes = start(book, REGISTRY, T0), list[Change]()
    for at, (part, now) in enumerate(zip(_cut(batch, cuts), cuts, strict=True)):
        state, some = step(state, part, now)
        changes += some
        if at % 5 == 0:
            state = load(dump(state), book, REGISTRY)
    assert tuple(changes) == expected
    assert {"firing", "resolved"} <= {change.state for change in changes}
