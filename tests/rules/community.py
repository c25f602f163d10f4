"""A very small community, its rules, and random streams of what its devices say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from hypothesis import strategies as st

from ingest.changes import Change
from ingest.inputs import Control, Event, Inputs, Json, Presence
from ingest.readings import Flag, Readings, Series, SeriesTable, Times
from ingest.registry import Building, Device, Principal, Registry, Text
from rules.engine import start, step
from rules.kind import FOREVER_US, NEVER_US, NO, UNKNOWN, YES, Columns, Kind, Rows, Scope, Verdicts
from rules.kinds.absent import Absent
from rules.kinds.expression import Expression
from rules.kinds.rate import Rate
from rules.kinds.stuck import Stuck
from rules.rule import Rule, Rulebook, Selector
from rules.state import State

S = 1_000_000
T0 = 1_700_000_000 * S
METRICS = ("pressure", "flow", "state.run")


@dataclass(frozen=True)
class Seen:
    """Holds while pressure is above 1 and a camera has seen the thing for two seconds."""

    per: ClassVar[Literal["channel", "device"]] = "channel"
    metrics: ClassVar[tuple[str, ...]] = ("pressure",)
    parameters: ClassVar[tuple[str, ...]] = ()
    sightings: ClassVar[tuple[str, ...]] = ("cable_hanging",)

    def fresh_columns(self, n: int) -> Columns:
        return {"rows": np.zeros(n, np.int64)}

    def observe(self, memory: Columns, rows: Rows, scope: Scope) -> Verdicts:
        memory["rows"][rows] += 1
        return self.judge(memory, scope)

    def judge(self, memory: Columns, scope: Scope) -> Verdicts:
        value = scope.value[:, 0]
        long = scope.now_us >= self.due_us(memory, scope)
        return np.where(np.isnan(value), UNKNOWN, np.where(long & (value > 1), YES, NO))

    def due_us(self, memory: Columns, scope: Scope) -> Times:
        since = scope.seen_since_us["cable_hanging"]
        return np.where(since == NEVER_US, FOREVER_US, since + 2 * S)

    def evidence(self, memory: Columns, scope: Scope, row: int) -> dict[str, Json]:
        return {"rows": int(memory["rows"][row])}


_: type[Kind] = Seen


def rule(id: str, kind: Any, clear: Any = None, **fields: Any) -> Rule:
    on = Selector(
        types=fields.pop("types", ()),
        tags=fields.pop("tags", ()),
        channel=fields.pop("channel", "*"),
    )
    plain: dict[str, Any] = {
        "for_s": 0,
        "clear_for_s": 0,
        "keep_firing_s": 0,
        "severity": "warning",
        "audience": "people",
        "message_zh": "{building}{device} {since}",
        "message_en": "{rule} at {device} {channel}",
        "stale_after_s": None,
        "standard": None,
    }
    definition = repr((id, on, kind, clear, fields))
    return Rule(id, on, kind, "test", clear, **(plain | fields), definition=definition)


def rulebook(*rules: Rule) -> Rulebook:
    return Rulebook(rules, "0" * 64, "test.yaml", "")


RULES = rulebook(
    rule("at_once", Expression("pressure > 1")),
    rule("held", Expression("pressure > 1"), for_s=2, stale_after_s=3),
    rule(
        "cleared",
        Expression("pressure > 1"),
        Expression("flow < 1"),
        clear_for_s=2,
        keep_firing_s=4,
        stale_after_s=4,
    ),
    rule("kept", Expression("flow > 1"), keep_firing_s=3, clear_for_s=1, types=("pump",)),
    rule("either", Expression("pressure > 1 or flow > 1"), for_s=1, stale_after_s=2),
    rule("both", Expression('pressure > 1 and state.run == "running"'), channel="port.*"),
    rule("limit", Expression("pressure > param.set_pressure"), types=("pump",), tags=("sump",)),
    rule("gone", Absent(4), types=("pump", "circuit_meter"), keep_firing_s=1),
    rule("fast", Rate("pressure", above=0.5, below=-1.0, over_s=1), for_s=1),
    rule("same", Stuck("pressure", 3, 0.0), stale_after_s=9),
    rule("same_running", Stuck("pressure", 2, 0.5, 'state.run == "running"'), clear_for_s=1),
    rule("seen", Seen(), clear_for_s=1, stale_after_s=60),
)


def _device(name: str, type: str, building: str, stairwell: int, **more: Any) -> Device:
    return Device(name, type, name, Text(name, name), building, stairwell, **more)


REGISTRY = Registry(
    site="s",
    name=Text("小区", "Site"),
    time_zone="Asia/Shanghai",
    households=1,
    buildings={"b1": Building("b1", Text("1号楼", "Building 1"), 1, 2, (0.0, 0.0))},
    devices={
        one.id: one
        for one in (
            _device("p1", "pump", "b1", 0, tags=frozenset({"sump"}), params={"set_pressure": 0.5}),
            _device("p2", "pump", "b1", 2, interval_s=1.0),
            _device("m1", "circuit_meter", "", 0),
            _device("c1", "camera", "b1", 1),
            _device("c2", "camera", "b1", 2),
        )
    },
    principals={"p1": Principal("p1", ("native",))},
    version="v1",
)

Item = Event | Presence | Control | tuple[int, int, Series, float, int]
"""A row is (arrival, time, series, value, flags)."""


@st.composite
def streams(draw: st.DrawFn, most: int = 14) -> list[Item]:
    """What came in, by arrival: messages of several rows, repeats, jumps back, gaps, signs."""
    items: list[Item] = []
    at = T0
    for _ in range(draw(st.integers(1, most))):
        gap = draw(st.sampled_from([1, 200_000, 500_000, S - at % S, S, 2 * S, 5 * S, 13 * S]))
        at += max(1, gap)
        if draw(st.integers(0, 5)) == 0:
            items.append(draw(_signs(at)))
        else:
            items += draw(_messages(at))
    return items


@st.composite
def _messages(draw: st.DrawFn, at: int) -> list[Item]:
    device = draw(st.sampled_from(["p1", "p1", "p2", "m1", "x1"]))
    base = at - draw(st.sampled_from([0, 0, 0, 0, S, 5 * S, -S]))
    rows: list[Item] = []
    for _ in range(draw(st.integers(1, 4))):
        series = Series(
            "s",
            device,
            draw(st.sampled_from(["main", "main", "port.1"])),
            draw(st.sampled_from(METRICS)),
        )
        value = draw(st.sampled_from([0.0, 0.7, 1.0, 2.0, 2.0, 2.0, float("nan")]))
        time = base + draw(st.sampled_from([0, 0, 0, 300_000]))
        flags = draw(st.sampled_from([0] * 9 + [int(Flag.LATE), int(Flag.TS_MISSING)]))
        rows.append((at, time, series, value, flags))
    return rows


@st.composite
def _signs(draw: st.DrawFn, at: int) -> Item:
    flags = draw(st.sampled_from([0, 0, 0, int(Flag.RETAINED)]))
    if draw(st.booleans()):
        device = draw(st.sampled_from(["p1", "m1", "x2"]))
        states: list[Literal["online", "offline", "asleep"]] = ["online", "offline", "asleep"]
        state = draw(st.sampled_from(states))
        return Presence("s", device, state, "birth", at, at, flags)
    device = draw(st.sampled_from(["c1", "c2"]))
    phases: list[Literal["start", "update", "end"]] = ["start", "update", "end"]
    phase = draw(st.sampled_from(phases))
    id = draw(st.sampled_from(["1", "2"]))
    return Event("s", device, "zone.a", "cable_hanging", id, phase, at, at, flags, {"score": 0.5})


def arrival(item: Item) -> int:
    return item[0] if isinstance(item, tuple) else item.arrival_us


def inputs(items: Sequence[Item], table: SeriesTable) -> Inputs:
    """A batch, with the series that `table` lacked."""
    known = len(table)
    rows = [item for item in items if isinstance(item, tuple)]
    numbers = [table.number(row[2]) for row in rows]
    return Inputs(
        Readings.of(
            [row[1] for row in rows],
            [row[0] for row in rows],
            numbers,
            [row[3] for row in rows],
            [row[4] for row in rows],
        ),
        tuple(item for item in items if isinstance(item, Event)),
        tuple(item for item in items if isinstance(item, Presence)),
        tuple(item for item in items if isinstance(item, Control)),
        tuple(table.rows[known:]),
    )


def begin(book: Rulebook = RULES, registry: Registry | None = REGISTRY) -> State:
    return start(book, registry, T0, {"x1": "pump"})


def whole(items: Sequence[Item], until_us: int) -> list[Change]:
    """The changes of a stream that comes in one batch."""
    _, changes = step(begin(), inputs(items, SeriesTable()), until_us)
    return list(changes)


@st.composite
def cuts(draw: st.DrawFn, items: Sequence[Item], until_us: int) -> list[tuple[list[Item], int]]:
    """The stream in batches, each with a moment to step to that runs ahead of nothing."""
    places = draw(st.lists(st.integers(0, len(items)), max_size=6).map(sorted))
    batches = []
    for first, last in zip([0, *places], [*places, len(items)], strict=True):
        latest = arrival(items[last]) - 1 if last < len(items) else until_us
        earliest = max([T0, *(arrival(one) - 1 for one in items[:last])])
        now = draw(st.integers(min(earliest, latest), latest))
        batches.append((list(items[first:last]), until_us if last == len(items) else now))
    return batches
