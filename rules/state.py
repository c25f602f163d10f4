"""What the engine remembers: the newest of each series, the devices, the rules' instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.inputs import Control, Event, Json, Presence
from ingest.readings import Mask, Numbers, Readings, Series, Times
from ingest.registry import Device, Registry
from rules.alerts import Alerts
from rules.columns import column, longer
from rules.kind import FOREVER_US, NEVER_US, Columns, Kind
from rules.rule import Rule, Rulebook
from rules.sightings import Place, Sightings

Numbered = NDArray[np.int32]
NONE = -1
"""No series, no instance. As an index it names the last row of a column, which is never used."""


@dataclass(slots=True)
class SeriesColumns:
    """The newest fresh reading of each series. Arrays are longer than the table by one at least.

    `mark` is the round that brought it; `watched` (., w) the instances that look at the series,
    `place` is scratch space of a round.
    """

    time_us: Times = field(default_factory=partial(column, NEVER_US))
    arrival_us: Times = field(default_factory=partial(column, np.int64(0)))
    value: Numbers = field(default_factory=partial(column, np.nan))
    device: Numbered = field(default_factory=partial(column, np.int32(NONE)))
    seen: Mask = field(default_factory=partial(column, np.bool_(False)))
    mark: Times = field(default_factory=partial(column, np.int64(0)))
    place: Times = field(default_factory=partial(column, np.int64(0)))
    watched: Numbered = field(default_factory=partial(column, np.int32(NONE), 4))

    def reserve(self, rows: int) -> None:
        """Makes room for `rows` series and the unused last row."""
        if rows < len(self.time_us):
            return
        for name, fill in _SERIES_FILL.items():
            setattr(self, name, longer(getattr(self, name), fill, rows + 1))


_SERIES_FILL: dict[str, Any] = {
    "time_us": NEVER_US,
    "arrival_us": 0,
    "value": np.nan,
    "device": NONE,
    "seen": False,
    "mark": 0,
    "place": 0,
    "watched": NONE,
}


@dataclass(slots=True)
class Devices:
    """One row a device. `channels[d][channel][metric]` are its series that have been seen; `lone`
    (., w) the instances that look at the device as a whole, at when it was heard."""

    keys: list[tuple[str, str]] = field(default_factory=list)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    known: list[Device] = field(default_factory=list)
    channels: list[dict[str, dict[str, int]]] = field(default_factory=list)
    rules: list[tuple[int, ...]] = field(default_factory=list)
    active: Mask = field(default_factory=partial(column, np.bool_(False)))
    heard_us: Times = field(default_factory=partial(column, NEVER_US))
    lone: Numbered = field(default_factory=partial(column, np.int32(NONE), 2))

    def reserve(self) -> None:
        if len(self.keys) < len(self.active):
            return
        self.active = longer(self.active, False)
        self.heard_us = longer(self.heard_us, NEVER_US)
        self.lone = longer(self.lone, NONE)


@dataclass(slots=True)
class System:
    """An alert about the service itself, made by a control record."""

    started_us: int
    body: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Orphan:
    """A firing alert whose rule or device is gone; it is resolved at the next grid point."""

    rule: str
    site: str
    device: str
    channel: str
    severity: str
    audience: str
    started_us: int
    since_us: int


@dataclass(slots=True)
class State:
    """Owned by whoever steps it; `step` changes it in place. `grid_us` is the newest grid point
    that is settled; `due_us` the next one at which something may happen by itself. `waiting`
    are rows that came in ahead of `now_us`, `queue` what takes effect at a later grid point."""

    rulebook: Rulebook
    registry: Registry | None
    types: dict[str, str]
    grid_us: int
    due_us: int = int(FOREVER_US)
    round: int = 0
    table: list[Series] = field(default_factory=list)
    series: SeriesColumns = field(default_factory=SeriesColumns)
    devices: Devices = field(default_factory=Devices)
    views: list[View] = field(default_factory=list)
    alerts: Alerts = field(default_factory=Alerts)
    sightings: Sightings = field(default_factory=Sightings)
    system: dict[str, System] = field(default_factory=dict)
    orphans: list[Orphan] = field(default_factory=list)
    waiting: Readings = field(default_factory=Readings.empty)
    queue: list[Event | Presence | Control] = field(default_factory=list)

    @property
    def site(self) -> str:
        return self.registry.site if self.registry else ""


@dataclass(slots=True)
class Watch:
    """One kind at work in a rule: where its metrics are read, and what it remembers."""

    kind: Kind
    metrics: tuple[str, ...]
    series: Numbered
    memory: Columns
    parameters: dict[str, Numbers]


@dataclass(slots=True)
class View:
    """A rule over its instances: one row each, by device and channel.

    `alert` are their numbers in `Alerts`; arrays are longer than `len(channels)`. `timed`: what
    its kinds say may change by time alone, and not only because a value goes stale.
    """

    rule: Rule
    number: int
    main: Watch
    clear: Watch | None
    interest: frozenset[str]
    channels: list[str] = field(default_factory=list)
    rows: dict[tuple[int, str], int] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    device: Numbered = field(default_factory=partial(column, np.int32(NONE)))
    alert: Numbered = field(default_factory=partial(column, np.int32(NONE)))
    known_us: Times = field(default_factory=partial(column, NEVER_US))
    stale_us: Times = field(default_factory=partial(column, np.int64(0)))

    timed: bool = True

    @property
    def watches(self) -> tuple[Watch, ...]:
        return (self.main, self.clear) if self.clear else (self.main,)
