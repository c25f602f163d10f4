"""Everything that can change an alert: readings, events, presence, control records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ingest.readings import Readings, Series

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Event:
    """What a device says happened: an alarm with an id of its own, a camera's sighting."""

    site: str
    device: str
    channel: str
    kind: str
    id: str
    phase: Literal["start", "update", "end"]
    time_us: int
    arrival_us: int
    flags: int = 0
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Presence:
    """A device came, left, or went to sleep, and who says so."""

    site: str
    device: str
    state: Literal["online", "offline", "asleep"]
    source: Literal["birth", "will", "availability", "session"]
    time_us: int
    arrival_us: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Control:
    """What a person decided (adopt, maintenance, silence, …), copied by id into a batch."""

    id: int
    kind: str
    arrival_us: int
    body: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inputs:
    """One batch for the engine. `new_series` are numbered on from those known before."""

    readings: Readings
    events: tuple[Event, ...] = ()
    presences: tuple[Presence, ...] = ()
    controls: tuple[Control, ...] = ()
    new_series: tuple[Series, ...] = ()

    def __len__(self) -> int:
        return len(self.readings) + len(self.events) + len(self.presences) + len(self.controls)
