"""State after a restart: the newest checkpoint, then the batches after it, verified."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np

from ingest.changes import Change
from ingest.clock import US_PER_S
from ingest.journal import Batch
from ingest.registry import Registry
from rules.checkpoint import CheckpointError, label, load
from rules.controls import SYSTEM_DEVICE
from rules.engine import VERSION, step
from rules.state import Orphan, State, System

DIFFERENCES_MAX = 100
"""How many differing batches are kept to be shown; more are counted."""

Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """A batch whose recorded changes are not what the same inputs give again."""

    batch: int
    recorded: tuple[Change, ...]
    recomputed: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """The state after batch `batch`. `compared` is False where the engine or the registry is not
    the one that recorded: then differences are expected and none are listed."""

    state: State
    batch: int
    compared: bool
    differing: int
    differences: tuple[Difference, ...]


def recover(checkpoint: bytes, batches: Iterable[Batch], registry: Registry | None) -> Recovered:
    """Steps the checkpoint's state, under its own rulebook, through the batches after it.

    Recorded changes are the truth, for people were told of them: where recomputed ones differ,
    the state is put to what was recorded (which alerts are open, since when) and goes on from
    there. A rulebook that is newer than the checkpoint comes as a control record of a batch, or of
    the next one. Raises CheckpointError for a bad checkpoint or a missing batch.
    """
    told = label(checkpoint)
    version = registry.version if registry else ""
    compared = told.engine == VERSION and told.registry == version
    state = load(checkpoint, None, registry)
    last, differing = told.batch, 0
    differences: list[Difference] = []
    for batch in batches:
        if batch.number <= last:
            continue
        if batch.number != last + 1:
            raise CheckpointError(f"batch {last + 1} is missing: the next one is {batch.number}")
        state, changes = step(state, batch.inputs, batch.now_us)
        last = batch.number
        if _same(changes, batch.changes):
            continue
        believe(state, batch.changes, changes)
        differing += compared
        if compared and len(differences) < DIFFERENCES_MAX:
            differences.append(Difference(last, batch.changes, changes))
    return Recovered(state, last, compared, differing, tuple(differences))


def believe(state: State, recorded: Iterable[Change], recomputed: Iterable[Change]) -> None:
    """Puts the open alerts to what was recorded, in place of what was recomputed."""
    truth = {_key(change): change for change in recorded}
    first: dict[Key, Change] = {}
    for change in recomputed:
        first.setdefault(_key(change), change)
    for key, change in first.items():
        if key not in truth:
            _put(state, change, change.state in ("resolved", "unknown", "known"))
            _doubt(state, key, change.state == "known")
    for key, change in truth.items():
        _put(state, change, change.state != "resolved")
        _doubt(state, key, change.state == "unknown")


def _same(one: tuple[Change, ...], other: tuple[Change, ...]) -> bool:
    """As the journal keeps them: a tuple and a list are the same JSON."""
    return one == other or msgspec.json.encode(one) == msgspec.json.encode(other)


def _key(change: Change) -> Key:
    return change.rule, change.site, change.device, change.channel


def _put(state: State, change: Change, firing: bool) -> None:
    number = _instance(state, _key(change))
    if number is not None:
        alerts = state.alerts
        alerts.firing[number] = firing
        alerts.started_us[number] = change.started_us
        alerts.fired_since_us[number] = change.since_us
        alerts.held_us[number] = max(int(alerts.held_us[number]), change.started_us)
        alerts.clear_since_us[number] = max(int(alerts.clear_since_us[number]), change.started_us)
        alerts.due_us[number] = state.grid_us + US_PER_S
        state.due_us = min(state.due_us, state.grid_us + US_PER_S)
    elif change.device == SYSTEM_DEVICE:
        _put_system(state, change, firing)
    elif firing:
        state.orphans.append(_orphan(change))
        state.due_us = min(state.due_us, state.grid_us + US_PER_S)


def _put_system(state: State, change: Change, firing: bool) -> None:
    state.system.pop(change.rule, None)
    if firing:
        texts = {"severity": change.severity, "zh": change.text_zh, "en": change.text_en}
        state.system[change.rule] = System(change.started_us, texts)


def _doubt(state: State, key: Key, unknown: bool) -> None:
    number = _instance(state, key)
    if number is not None:
        state.alerts.unknown[number] = np.bool_(unknown)


def _instance(state: State, key: Key) -> int | None:
    rule, site, device, channel = key
    place = state.devices.numbers.get((site, device))
    for view in state.views:
        if view.rule.id == rule and place is not None:
            row = view.rows.get((place, channel))
            return None if row is None else int(view.alert[row])
    return None


def _orphan(change: Change) -> Orphan:
    return Orphan(
        change.rule,
        change.site,
        change.device,
        change.channel,
        change.severity,
        change.audience,
        change.started_us,
        change.since_us,
    )
