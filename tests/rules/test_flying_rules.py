"""The two shipped rules of the kind, through the engine: one tells people, one only takes notes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from ingest.changes import Change
from ingest.inputs import Event, Inputs
from ingest.readings import Readings, Series
from ingest.registry import Building, Device, Principal, Registry, Text
from rules.checkpoint import dump, load
from rules.engine import start, step
from rules.rulebook import shipped_rulebook
from rules.state import State
from tests.rules.flying_series import MINUTE_US, START_US, charge, noisy

NAME = Text("名", "name")
PLUG_IN, LENGTH = 60, 420


def device(name: str, kind: str, stairwell: int) -> Device:
    tags = frozenset({"stairwell"})
    return Device(name, kind, name, NAME, building="b1", stairwell=stairwell, tags=tags)


REGISTRY = Registry(
    site="s",
    name=NAME,
    time_zone="Asia/Shanghai",
    households=1,
    buildings={"b1": Building("b1", NAME, 1, 2, (0.0, 0.0))},
    devices={
        one.id: one
        for one in (
            device("meter", "circuit_meter", 1),
            device("camera", "camera", 1),
            device("elsewhere", "camera", 2),
        )
    },
    principals={name: Principal(name, ("native",)) for name in ("meter", "camera", "elsewhere")},
    version="v1",
)


def at(minute: float) -> int:
    return START_US + round(minute * MINUTE_US)


def readings() -> Readings:
    power = np.zeros(LENGTH)
    made = charge(260)
    power[PLUG_IN : PLUG_IN + len(made)] = made
    times = [at(minute) for minute in range(LENGTH)]
    return Readings.of(times, times, [0] * LENGTH, noisy(power).tolist(), [0] * LENGTH)


def sightings(camera: str, *kinds: str) -> tuple[Event, ...]:
    """Seen from minute 62 to 332, told again every 5 minutes."""
    return tuple(
        Event("s", camera, "zone.facade", kind, kind, phase_at(minute), at(minute), at(minute))
        for minute in range(62, 333, 5)
        for kind in kinds
    )


def phase_at(minute: int) -> Literal["start", "update", "end"]:
    if minute == 62:
        return "start"
    return "end" if minute == 332 else "update"


def begun() -> State:
    return start(shipped_rulebook(), REGISTRY, START_US)


def told(events: tuple[Event, ...], cuts: Sequence[int] = ()) -> list[Change]:
    """The changes, with the input cut into batches after these minutes."""
    state, rows, last = begun(), readings(), -1
    changes: list[Change] = []
    for number, cut in enumerate([*cuts, LENGTH]):
        part = (rows.arrival_us > at(last)) & (rows.arrival_us <= at(cut))
        inputs = Inputs(
            rows.take(part),
            events=tuple(event for event in events if at(last) < event.arrival_us <= at(cut)),
            new_series=(Series("s", "meter", "main", "power.active"),) if not number else (),
        )
        state, more = step(state, inputs, at(cut))
        changes += more
        last = cut
    return changes


@functools.cache
def with_camera() -> tuple[Change, ...]:
    return tuple(told(sightings("camera", "cable_hanging")))


def of(rule: str, changes: Sequence[Change]) -> list[Change]:
    return [change for change in changes if change.rule == rule]


def test_a_charging_load_and_a_cable_together_are_told_to_people() -> None:
    begin, end = of("C01_flying_wire", with_camera())
    assert (begin.state, end.state) == ("firing", "resolved")
    assert at(PLUG_IN + 45) <= begin.at_us <= at(PLUG_IN + 120)
    assert at(240) <= end.at_us <= at(330)
    assert begin.audience == "people"
    assert begin.evidence["likelihood_ratios"] == {"meter": 1.7, "cable_hanging": 30.0}
    assert begin.evidence["stage"] == "look"


def test_the_bike_that_a_cable_hangs_on_is_no_second_witness() -> None:
    cable_and_bike = told(sightings("camera", "cable_hanging", "ebike"))
    assert of("C01_flying_wire", cable_and_bike) == of("C01_flying_wire", with_camera())


def test_the_meter_alone_is_noted_for_review_and_told_to_nobody() -> None:
    changes = told(())
    assert not of("C01_flying_wire", changes)
    begin, end = of("flying_wire_meter", changes)
    assert (begin.state, end.state) == ("firing", "resolved")
    assert begin.audience == "review"
    assert isinstance(begin.evidence["amplitude_w"], float)


def test_a_camera_of_another_stairwell_says_nothing_of_this_circuit() -> None:
    assert not of("C01_flying_wire", told(sightings("elsewhere", "cable_hanging")))


@pytest.mark.parametrize("cuts", [tuple(range(7, LENGTH, 7)), (61, 62, 63, 150, 151, 333)])
def test_however_the_input_is_cut_the_changes_are_the_same(cuts: Sequence[int]) -> None:
    assert told(sightings("camera", "cable_hanging"), cuts) == list(with_camera())


def test_a_checkpoint_in_the_middle_of_a_charge_goes_on_as_before() -> None:
    rows, events = readings(), sightings("camera", "cable_hanging")
    series = (Series("s", "meter", "main", "power.active"),)
    early = rows.arrival_us <= at(140)
    first = tuple(event for event in events if event.arrival_us <= at(140))
    state, changes = step(begun(), Inputs(rows.take(early), first, new_series=series), at(140))
    state = load(dump(state), None, REGISTRY)
    rest = Inputs(rows.take(~early), tuple(event for event in events if event not in first))
    _, more = step(state, rest, at(LENGTH))
    assert [*changes, *more] == list(with_camera())
