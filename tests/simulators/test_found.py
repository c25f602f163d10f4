"""Every planted fault that shows within two hours is found by a shipped rule."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from ingest.changes import Change
from ingest.clock import US_PER_S, format_us
from ingest.dialect import Inbound, Sighting
from ingest.dialects.native import DIALECT
from ingest.inputs import Event, Inputs
from ingest.readings import Readings, Series, SeriesTable
from ingest.registry import Registry
from rules.engine import start, step
from rules.replay import episodes
from rules.rulebook import shipped_rulebook
from rules.state import State
from simulators.faults import FAULTS, Fault, plant
from simulators.fleet import Fleet
from simulators.message import Message
from simulators.score import Alert, Score, code_of, score
from tests.simulators.community import EVENING_US, rihuali, speaker

HOURS = 2.5
SLOW = {"CP13", "P11", "C01", "C01_unseen"}  # six hours of constancy, a whole tank, half a charge
UNANSWERABLE = {"C01_window"}  # only a camera sees it, and rules ask for a meter
PLANT = ("supply-1", "supply-2", "supply-3")


@dataclass
class _Watch:
    """The engine, fed with a minute of messages at a time."""

    registry: Registry
    state: State
    table: SeriesTable = field(default_factory=SeriesTable)
    known: int = 0
    changes: list[Change] = field(default_factory=list)
    newest_us: int = EVENING_US

    def take(self, messages: list[Message], until_us: int) -> None:
        rows: list[tuple[int, int, int, float]] = []
        events: list[Event] = []
        for message in messages:
            self.newest_us = at_us = max(message.time_us, self.newest_us + 1)
            decoded = DIALECT.decode(Inbound(message.topic, message.payload, at_us), {})
            for seen in decoded.observations:
                device = speaker(self.registry, decoded.principal, seen.device).id
                series = Series(self.registry.site, device, seen.channel, seen.metric)
                number = self.table.number(series)
                rows.append((seen.time_us or at_us, at_us, number, seen.value))
            events += self._events(decoded.sightings, decoded.principal, at_us)
        readings = Readings.of(
            [row[0] for row in rows],
            [row[1] for row in rows],
            [row[2] for row in rows],
            [row[3] for row in rows],
            [0] * len(rows),
        )
        new_series = tuple(self.table.rows[self.known :])
        inputs = Inputs(readings, tuple(events), new_series=new_series)
        self.known = len(self.table)
        self.state, changes = step(self.state, inputs, until_us)
        self.changes += changes

    def _events(self, sightings: Sequence[Sighting], principal: str, at_us: int) -> Iterator[Event]:
        for one in sightings:
            device = speaker(self.registry, principal, one.device).id
            yield Event(
                self.registry.site,
                device,
                one.channel,
                one.kind,
                one.id,
                one.phase,
                one.time_us or at_us,
                at_us,
                data=one.data,
            )


def _plan(codes: list[str]) -> tuple[list[Fault], Registry]:
    """Each fault at a device of its own, and a site of these devices and their witnesses."""
    site, used, faults = rihuali(), set[str](), []
    for code in codes:
        kind = FAULTS[code]
        free = [w for w, d in site.devices.items() if kind.fits(d) and w not in used]
        fault = plant(code, free[0], EVENING_US + 300 * US_PER_S, site, min(kind.lasts_s, 7_500))
        # a camera that watches one fault has no other
        used |= {fault.device, fault.witness}
        faults.append(fault)
    kept = used | set(PLANT) if used & set(PLANT) else used
    devices = {word: device for word, device in site.devices.items() if word in kept}
    return faults, replace(site, devices=devices)


def _found(codes: list[str]) -> Score:
    faults, registry = _plan(codes)
    fleet = Fleet(registry, seed=11, start_us=EVENING_US, faults=faults)
    watch = _Watch(registry, start(shipped_rulebook(), registry, EVENING_US - 1))
    end_us = EVENING_US + int(HOURS * 3_600) * US_PER_S
    minute: list[Message] = []
    next_us = EVENING_US + 60 * US_PER_S
    for message in fleet.messages(end_us):
        while message.time_us >= next_us:
            watch.take(minute, next_us - 1)
            minute, next_us = [], next_us + 60 * US_PER_S
        minute.append(message)
    watch.take(minute, end_us)
    alerts = [Alert(e.rule, e.device, format_us(e.started_us)) for e in episodes(watch.changes)]
    return score(fleet.truth, alerts)


_ANSWERED = [
    code
    for code, kind in FAULTS.items()
    if code not in SLOW | UNANSWERABLE and not code.startswith(("N04", "N05", "N07", "N09"))
]
# what shares water is planted one at a time, and so is what silences others
_ALONE = [code for code in _ANSWERED if FAULTS[code].type == "pump" or code == "N01"]
_TOGETHER = [code for code in _ANSWERED if code not in _ALONE]


@pytest.mark.parametrize("codes", [_TOGETHER, *([code] for code in _ALONE)], ids="-".join)
def test_what_is_planted_is_found(codes: list[str]) -> None:
    result = _found(codes)
    assert [match.truth.fault for match in result.matches if not match.alerts] == []
    assert len(result.matches) == len(codes)
    # the other pumps of a set strain themselves when one fails or a main bursts
    strain = {"P01", "P06"} if codes[0] in {"P01", "P10"} else set()
    assert {code_of(alert.rule) for alert in result.false} <= strain, result.text()
