"""The shipped site, parts of it, and runs of it decoded again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from ingest.clock import US_PER_S, parse_us
from ingest.dialect import Inbound, Observation, Sighting, Signal
from ingest.dialects.native import DIALECT
from ingest.registry import Device, Registry
from ingest.site import read_registry
from simulators.faults import Fault
from simulators.fleet import Fleet

SITES = Path(__file__).parents[2] / "simulators" / "sites"
EVENING_US = parse_us("2026-11-24T10:00:00Z")  # 18:00 in Tianjin
HOUR_US = 3_600 * US_PER_S


@cache
def rihuali() -> Registry:
    return read_registry(SITES / "rihuali.yaml")


def part(*types: str, building: str = "") -> Registry:
    """The site with these types of devices only, and of one building if it is named."""
    everything = rihuali()
    kept = {
        word: device
        for word, device in everything.devices.items()
        if device.type in types and building in {"", device.building}
    }
    return replace(everything, devices=kept)


def few(type: str, device: str, others: int = 5) -> Registry:
    """The site with that device, its plant, and a few others of its type."""
    everything = rihuali()
    mine = everything.devices[device]
    same = [d for d in everything.devices.values() if d.type == type]
    plant = [d for d in same if d.type == "pump" and d.gateway == mine.gateway]
    kept = {d.id: d for d in [mine, *plant, *same[:others]]}
    return replace(everything, devices={d.id: d for d in same if d.id in kept})


@dataclass
class Run:
    """What a simulated community said, by (device, channel, metric) and by device time."""

    values: dict[tuple[str, str, str], dict[int, float]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    sightings: dict[str, list[Sighting]] = field(default_factory=lambda: defaultdict(list))
    signals: list[Signal] = field(default_factory=list)
    flaws: list[str] = field(default_factory=list)
    messages: int = 0

    def changed(self, other: Run) -> set[tuple[str, str, str]]:
        """The series in which the two differ."""
        words = set(self.values) | set(other.values)
        return {word for word in words if self.values.get(word) != other.values.get(word)}


def run(
    registry: Registry,
    hours: float,
    faults: Sequence[Fault] = (),
    *,
    seed: int = 3,
    start_us: int = EVENING_US,
    dirty: float = 0.0,
) -> Run:
    fleet = Fleet(registry, seed=seed, start_us=start_us, faults=faults, dirty=dirty)
    result = Run()
    for message in fleet.messages(start_us + int(hours * HOUR_US)):
        inbound = Inbound(message.topic, message.payload, message.time_us, message.retain)
        decoded = DIALECT.decode(inbound, {})
        result.messages += 1
        result.flaws += [f"{flaw.where}: {flaw.reason}" for flaw in decoded.flaws]
        for seen in decoded.observations:
            _keep(registry, decoded.principal, seen, result)
        for sighting in decoded.sightings:
            device = speaker(registry, decoded.principal, sighting.device)
            result.sightings[device.id].append(sighting)
        result.signals += decoded.signals
    return result


def speaker(registry: Registry, principal: str, said: str) -> Device:
    device = registry.speaks_for(principal, said)
    if device is None:
        raise LookupError(f"{principal} may not speak for {said!r}")
    return device


def _keep(registry: Registry, principal: str, seen: Observation, result: Run) -> None:
    device = speaker(registry, principal, seen.device)
    if seen.time_us is None:
        raise ValueError("a simulated device always gives a time")
    result.values[device.id, seen.channel, seen.metric][seen.time_us] = seen.value
