"""A small site, its alerts and a journal in a list, for the tests of response."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ingest.changes import Audience, Change, ChangeState, Severity
from ingest.clock import US_PER_S, format_us
from ingest.inputs import Inputs
from ingest.journal import Batch
from ingest.readings import Readings
from ingest.registry import Building, Device, Registry, Text
from response.outbox import Public, Telling
from response.subscribers import Subscriber

START_US = 1_790_000_000 * US_PER_S

REGISTRY = Registry(
    site="rihuali",
    name=Text("日华里", "Rihuali"),
    time_zone="Asia/Shanghai",
    households=80,
    buildings={
        "b7": Building("b7", Text("7栋", "Building 7"), 48, 2, (0.0, 0.0)),
        "b8": Building("b8", Text("8栋", "Building 8"), 32, 1, (60.0, 0.0)),
    },
    devices={
        "pump-7": Device(
            "pump-7", "pump", "pump-7", Text("供水泵", "Supply pump"), "b7", stairwell=2
        ),
        "post-8": Device("post-8", "charging_post", "post-8", Text("充电桩", "Post"), "b8"),
    },
    principals={},
    version="1",
)
LI = Subscriber("li", "memory", "li@example.org", "zh")
ANN = Subscriber("ann", "memory", "ann@example.org", "en", "serious", ("b7",))


def public_of(*subscribers: Subscriber, telling: Telling = Telling()) -> Public:
    return Public(subscribers or (LI, ANN), REGISTRY, telling)


def change_of(
    state: ChangeState = "firing",
    *,
    device: str = "pump-7",
    started_us: int = START_US,
    at_us: int | None = None,
    severity: Severity = "serious",
    audience: Audience = "people",
    rule: str = "P10_supply_pressure_low",
) -> Change:
    """A change of the one alert of that rule and device that began to fire at `started_us`."""
    identity = f"{rule}|rihuali|{device}|main|{format_us(started_us)}"
    return Change(
        episode=hashlib.sha256(identity.encode()).hexdigest()[:16],
        rule=rule,
        site="rihuali",
        device=device,
        channel="main",
        severity=severity,
        audience=audience,
        state=state,
        at_us=started_us if at_us is None else at_us,
        started_us=started_us,
        since_us=started_us - 120 * US_PER_S,
        text_zh="供水压力低 210 kPa",
        text_en="Supply pressure low: 210 kPa",
        evidence={"pressure": 210.0},
    )


def readings_of(count: int) -> Readings:
    return Readings(
        np.full(count, START_US, np.int64),
        np.full(count, START_US, np.int64),
        np.zeros(count, np.int32),
        np.zeros(count),
        np.zeros(count, np.uint16),
    )


def batch_of(number: int, *changes: Change) -> Batch:
    return Batch(number, START_US, Inputs(readings_of(0)), changes)


class Known(NamedTuple):
    change: Change
    resolved_us: int | None


class ListJournal:
    """Batches in a list; those up to `gone` are no longer kept, their alerts are."""

    def __init__(self, name: str = "j1") -> None:
        self.id = name
        self.batches: list[Batch] = []
        self.gone = 0

    def add(self, *changes: Change) -> None:
        self.batches.append(batch_of(len(self.batches) + 1, *changes))

    def last(self) -> int:
        return len(self.batches)

    def read(self, after: int, limit: int = 1_000) -> Sequence[Batch]:
        if after < self.gone:
            raise LookupError(f"batch {after + 1} is no longer kept")
        return self.batches[after : after + limit]

    def alerts(self, limit: int, open_only: bool = False) -> Sequence[Known]:
        newest = {change.episode: change for batch in self.batches for change in batch.changes}
        rows = [Known(c, c.at_us if c.state == "resolved" else None) for c in newest.values()]
        return [row for row in rows if not (open_only and row.resolved_us)][-limit:]

    def close(self) -> None:
        return None
