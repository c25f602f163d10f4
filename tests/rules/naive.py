"""The slow obvious engine: one instance at a time, every second visited, nothing vectorised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ingest.inputs import Event, Inputs, Presence
from ingest.readings import NOT_FRESH, Series
from ingest.registry import Device, Registry, Text, device_type
from rules.kind import NEVER_US, NO, SILENT, UNKNOWN, YES, Columns, Kind, Scope
from rules.rule import Rule, Rulebook

S = 1_000_000
Turn = tuple[int, str, str, str, str, int, int]
"""When, device, channel, rule, state, started, since."""


@dataclass
class Instance:
    rule: Rule
    device: str
    channel: str
    known_us: int
    memory: Columns
    clear_memory: Columns
    word: int = int(NO)
    clear: int = int(NO)
    since: int | None = None
    latch: int | None = None
    held: int = 0
    clear_since: int | None = None
    firing: bool = False
    unknown: bool = False
    started: int = 0
    fired_since: int = 0


@dataclass
class Naive:
    rulebook: Rulebook
    registry: Registry | None
    types: Mapping[str, str]
    start_us: int
    newest: dict[Series, tuple[int, int, float]] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    instances: dict[tuple[str, str, str], Instance] = field(default_factory=dict)
    sighted: dict[tuple[str, int, str], dict[tuple[str, str, str], int]] = field(
        default_factory=dict
    )
    seen_since: dict[tuple[str, int, str], int] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)

    def run(self, inputs: Inputs, until_us: int) -> list[Turn]:
        table = inputs.new_series
        for name in self.registry.devices if self.registry else ():
            self.know(name, self.start_us)
        r = inputs.readings
        rows = [
            (int(r.arrival_us[i]), int(r.time_us[i]), table[int(r.series[i])], float(r.value[i]))
            for i in range(len(r))
            if not int(r.flags[i]) & NOT_FRESH
        ]
        rows.sort(key=lambda row: row[:2])
        signs: list[Event | Presence] = [*inputs.events, *inputs.presences]
        signs.sort(key=lambda item: item.arrival_us)
        grid = self.start_us // S * S
        while grid + S <= until_us:
            grid += S
            for moment in moments([row for row in rows if grid - S < row[0] <= grid]):
                self.moment(moment)
            for sign in signs:
                if grid - S < sign.arrival_us <= grid and not sign.flags & NOT_FRESH:
                    self.sign(sign)
            self.expire(grid)
            self.settle(grid)
        return self.turns

    def device(self, name: str) -> Device:
        if self.registry and name in self.registry.devices:
            return self.registry.devices[name]
        return Device(name, self.types.get(name, ""), "", Text(name, name))

    def know(self, device: str, at: int) -> None:
        for rule in self.rulebook.rules:
            if rule.kind.per == "device" and rule.on.takes_device("s", self.device(device)):
                self.instance(rule, device, "main", at)

    def instance(self, rule: Rule, device: str, channel: str, at: int) -> None:
        key = (rule.id, device, channel)
        if key not in self.instances:
            clear = rule.clear.fresh_columns(1) if rule.clear else {}
            self.instances[key] = Instance(
                rule, device, channel, at, rule.kind.fresh_columns(1), clear
            )

    def moment(self, rows: list[tuple[int, int, Series, float]]) -> None:
        at, device = rows[0][0], rows[0][2].device
        fresh: set[Series] = set()
        for _, time, series, value in rows:
            if series not in fresh and time > self.newest.get(series, (-(10**18), 0, 0.0))[0]:
                self.newest[series] = (time, at, value)
                fresh.add(series)
        if not fresh:
            return
        self.heard[device] = max(at, self.heard.get(device, 0))
        self.know(device, at)
        for rule in self.rulebook.rules:
            if rule.kind.per == "channel" and rule.on.takes_device("s", self.device(device)):
                for channel in {s.channel for s in self.newest if s.device == device}:
                    if self.wanted(rule, device, channel):
                        self.instance(rule, device, channel, at)
        for one in self.instances.values():
            if one.device == device:
                self.observe(one, fresh, at)

    def wanted(self, rule: Rule, device: str, channel: str) -> bool:
        own = [m for m in rule.kind.metrics if Series("s", device, channel, m) in self.newest]
        there = [m for m in rule.kind.metrics if self.source(device, channel, m) in self.newest]
        all_there = len(there) == len(rule.kind.metrics) or not getattr(
            rule.kind, "needs_all", False
        )
        return bool(own) and all_there and rule.on.takes_channel(channel)

    def source(self, device: str, channel: str, metric: str) -> Series:
        own = Series("s", device, channel, metric)
        return own if own in self.newest else Series("s", device, "main", metric)

    def observe(self, one: Instance, fresh: set[Series], at: int) -> None:
        word = clear = int(SILENT)
        rows = np.array([0])
        scope = self.scope(one, one.rule.kind, at, fresh)
        touched = scope.fresh.any()
        if touched:
            word = int(one.rule.kind.observe(one.memory, rows, scope)[0])
        if one.rule.clear:
            scope = self.scope(one, one.rule.clear, at, fresh)
            if scope.fresh.any():
                touched = np.bool_(True)
                clear = int(one.rule.clear.observe(one.clear_memory, rows, scope)[0])
        if touched:
            self.hear(one, word, clear, at)

    def scope(self, one: Instance, kind: Kind, at: int, fresh: set[Series]) -> Scope:
        sources = [self.source(one.device, one.channel, metric) for metric in kind.metrics]
        value, time = [], []
        for source in sources:
            when, arrival, number = self.newest.get(source, (int(NEVER_US), 0, math.nan))
            value.append(math.nan if at - arrival > self.stale_us(one) else number)
            time.append(when)
        place = self.device(one.device)
        return Scope(
            np.array([value], float).reshape(1, len(sources)),
            np.array([time], np.int64).reshape(1, len(sources)),
            np.array([[s in fresh for s in sources]], bool).reshape(1, len(sources)),
            np.array([self.heard.get(one.device, int(NEVER_US))]),
            np.array([one.known_us]),
            np.array([at]),
            {p: np.array([self.parameter(place, p)]) for p in kind.parameters},
            {k: np.array([self.seen(place, k)]) for k in kind.sightings},
        )

    def stale_us(self, one: Instance) -> int:
        device = self.device(one.device)
        if one.rule.stale_after_s is not None:
            return one.rule.stale_after_s * S
        if device.interval_s:
            return int(max(30.0, 3 * device.interval_s) * S)
        return int(device_type(device.type).stale_after_s * S) if device.type else 900 * S

    def parameter(self, device: Device, name: str) -> float:
        if name in device.params:
            return device.params[name]
        declared = device_type(device.type).parameters if device.type else {}
        return declared[name].value if name in declared else math.nan

    def seen(self, device: Device, kind: str) -> int:
        since = [
            start
            for (building, stairwell, what), start in self.seen_since.items()
            if what == kind
            and building == device.building != ""
            and (stairwell == 0 or device.stairwell == 0 or stairwell == device.stairwell)
        ]
        return min(since, default=int(NEVER_US))

    def sign(self, sign: Event | Presence) -> None:
        if isinstance(sign, Presence) and sign.state != "online":
            return
        self.know(sign.device, sign.arrival_us)
        self.heard[sign.device] = max(sign.arrival_us, self.heard.get(sign.device, 0))
        device = self.device(sign.device)
        if isinstance(sign, Event) and device.building:
            key = (device.building, device.stairwell, sign.kind)
            seen = self.sighted.setdefault(key, {})
            if sign.phase == "end":
                seen.pop((sign.device, sign.channel, sign.id), None)
            else:
                seen[sign.device, sign.channel, sign.id] = sign.arrival_us
            self.note(key, sign.arrival_us)

    def note(self, key: tuple[str, int, str], at: int) -> None:
        if self.sighted[key]:
            self.seen_since.setdefault(key, at)
        else:
            self.seen_since.pop(key, None)

    def expire(self, grid: int) -> None:
        for key, seen in self.sighted.items():
            for name in [name for name, heard in seen.items() if grid - heard >= 600 * S]:
                del seen[name]
            self.note(key, grid)

    def hear(self, one: Instance, word: int, clear: int, at: int) -> None:
        was_held = one.word == YES
        was_clearing = one.clear == YES and not was_held
        if word != SILENT:
            one.word = word
        if one.rule.clear is None:
            one.clear = int({YES: NO, NO: YES, UNKNOWN: UNKNOWN}[np.int8(one.word)])
        elif clear != SILENT:
            one.clear = clear
        holds = one.word == YES
        if holds and not was_held:
            one.since = at
            if one.rule.for_s == 0 and one.latch is None:
                one.latch = at
        if was_held and not holds:
            one.held = at
        if one.clear == YES and not holds and not was_clearing:
            one.clear_since = at

    def settle(self, grid: int) -> None:
        turns: list[Turn] = []
        for one in self.instances.values():
            rule = one.rule
            word = rule.kind.judge(one.memory, self.scope(one, rule.kind, grid, set()))[0]
            clear = SILENT
            if rule.clear:
                scope = self.scope(one, rule.clear, grid, set())
                clear = rule.clear.judge(one.clear_memory, scope)[0]
            self.hear(one, int(word), int(clear), grid)
            turns += [
                (grid, one.device, one.channel, rule.id, state, one.started, one.fired_since)
                for state in self.turn(one, grid)
            ]
        self.turns += sorted(turns)

    def turn(self, one: Instance, grid: int) -> list[str]:
        rule, holds = one.rule, one.word == YES
        latch, one.latch = one.latch, None
        if not one.firing:
            since = latch if latch is not None else one.since
            ripe = holds and one.since is not None and grid - one.since >= rule.for_s * S
            if latch is None and not ripe:
                return []
            assert since is not None
            one.firing, one.started, one.fired_since = True, grid, since
            return ["firing"]
        if one.clear == UNKNOWN:
            news = not one.unknown
            one.unknown = True
            return ["unknown"] if news else []
        if one.clear == YES and not holds:
            assert one.clear_since is not None
            cleared = grid - one.clear_since >= rule.clear_for_s * S
            if cleared and grid - one.held >= rule.keep_firing_s * S:
                one.firing = one.unknown = False
                return ["resolved"]
        was, one.unknown = one.unknown, False
        return ["known"] if was else []


def moments(
    rows: list[tuple[int, int, Series, float]],
) -> list[list[tuple[int, int, Series, float]]]:
    groups: dict[tuple[int, int, str], list[tuple[int, int, Series, float]]] = {}
    for row in rows:
        groups.setdefault((row[0], row[1], row[2].device), []).append(row)
    return [groups[key] for key in sorted(groups)]
