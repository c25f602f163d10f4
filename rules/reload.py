"""Carries the state of rules over to another rulebook or registry, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.clock import US_PER_S
from ingest.readings import Times
from rules.alerts import LIFE, Alerts
from rules.instances import MAIN, choose, refresh, view_of
from rules.kind import NEVER_US, Columns, Rows
from rules.rule import Rulebook
from rules.state import NONE, Orphan, State, View, Watch

Key = tuple[str, str, str]
"""Site, device and channel: what an instance is called wherever it is kept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """All that the instances of one rule remember, row by row. `device` counts in `devices`."""

    rule: str
    definition: str
    severity: str
    audience: str
    devices: list[tuple[str, str]]
    device: NDArray[np.int32]
    channels: list[str]
    known_us: Times
    life: Columns
    memories: list[Columns]

    def keys(self) -> list[Key]:
        return _keys(self.devices, self.device, self.channels)


def swap_rulebook(state: State, rulebook: Rulebook, now_us: int) -> list[Orphan]:
    """Puts another rulebook in force. Rules with the definition that they had go on as they were;
    firing alerts that are nobody's any more are returned."""
    before = keep(state)
    state.rulebook = rulebook
    link(state, now_us)
    return restore(state, before)


def keep(state: State) -> list[Kept]:
    """What every rule remembers. The arrays are copies."""
    return [_kept(state, view) for view in state.views]


def link(state: State, now_us: int) -> None:
    """Makes all instances anew, from the devices and the series that have been seen."""
    state.views = [view_of(rule, number) for number, rule in enumerate(state.rulebook.rules)]
    state.alerts = Alerts()
    state.series.watched[:] = NONE
    state.devices.lone[:] = NONE
    choose(state)
    for device, rules in enumerate(state.devices.rules):
        if not state.devices.active[device]:
            continue
        for view in (state.views[rule] for rule in rules):
            channels = state.devices.channels[device]
            for channel in [MAIN] if view.main.kind.per == "device" else list(channels):
                refresh(state, view, device, channel, now_us)


def restore(state: State, before: list[Kept]) -> list[Orphan]:
    """Gives instances back what they remembered; the firing alerts that have none any more. All
    are judged at the next grid point: what touched them since the last one is not kept."""
    views = {view.rule.id: view for view in state.views}
    orphans = []
    for kept in before:
        view = views.get(kept.rule)
        there = view is not None and view.rule.definition == kept.definition
        rows = _rows(state, view) if view and there else {}
        keys = kept.keys()
        old = [at for at, key in enumerate(keys) if key in rows]
        if view and old:
            new = np.array([rows[keys[at]] for at in old], np.intp)
            _give(state, view, new, kept, np.array(old, np.intp))
        orphans += [
            _orphan(kept, keys[at], at)
            for at in np.flatnonzero(kept.life["firing"]).tolist()
            if keys[at] not in rows
        ]
    state.alerts.due_us[: state.alerts.n] = state.grid_us + US_PER_S
    state.alerts.ask_us[: state.alerts.n] = NEVER_US
    state.due_us = min(state.due_us, state.grid_us + US_PER_S)
    return orphans


def _kept(state: State, view: View) -> Kept:
    n, rule = len(view.channels), view.rule
    numbers = view.alert[:n]
    return Kept(
        rule.id,
        rule.definition,
        rule.severity,
        rule.audience,
        state.devices.keys,
        view.device[:n].copy(),
        list(view.channels),
        view.known_us[:n].copy(),
        {name: getattr(state.alerts, name)[numbers] for name in LIFE},
        [{name: col[:n].copy() for name, col in watch.memory.items()} for watch in view.watches],
    )


def _rows(state: State, view: View) -> dict[Key, int]:
    keys = _keys(state.devices.keys, view.device, view.channels)
    return {key: row for row, key in enumerate(keys)}


def _keys(
    devices: list[tuple[str, str]], device: NDArray[np.int32], channels: list[str]
) -> list[Key]:
    return [
        (*devices[number], channel)
        for number, channel in zip(device[: len(channels)].tolist(), channels, strict=True)
    ]


def _give(state: State, view: View, new: Rows, kept: Kept, old: Rows) -> None:
    view.known_us[new] = kept.known_us[old]
    numbers = view.alert[new]
    for name in LIFE:
        getattr(state.alerts, name)[numbers] = kept.life[name][old]
    for watch, memory in zip(view.watches, kept.memories, strict=False):
        _remember(watch, new, memory, old)


def _remember(watch: Watch, new: Rows, memory: Columns, old: Rows) -> None:
    """A kind whose columns have changed their form begins anew."""
    if {name: _form(c) for name, c in memory.items()} == {
        name: _form(c) for name, c in watch.memory.items()
    }:
        for name, column in watch.memory.items():
            column[new] = memory[name][old]


def _form(column: NDArray[Any]) -> tuple[str, tuple[int, ...]]:
    return column.dtype.str, column.shape[1:]


def _orphan(kept: Kept, key: Key, at: int) -> Orphan:
    life = kept.life
    return Orphan(
        kept.rule,
        *key,
        kept.severity,
        kept.audience,
        int(life["started_us"][at]),
        int(life["fired_since_us"][at]),
    )
