"""After a restart: the newest state, and the batches since, stepped again and compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.changes import Change
from ingest.clock import US_PER_S
from ingest.journal import Batch
from rules.controls import SYSTEM_DEVICE
from rules.engine import step
from rules.kind import NEVER_US, YES
from rules.state import Orphan, State, System, View

MOST_DIFFERENCES = 1_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A batch whose recorded changes are not those that its inputs give."""

    batch: int
    recorded: tuple[Change, ...]
    recomputed: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """The state after the newest batch, and how it was come by."""

    state: State
    batches: int
    differences: tuple[Difference, ...]


def recover(state: State, batches: Iterable[Batch], *, compare: bool) -> Recovered:
    """Steps a state through the batches after it. `compare` where engine version, rulebook and
    registry are those that the changes were recorded with; of the differences the first 1,000 are
    kept. The recorded changes stay the truth: see `reconcile`."""
    count = 0
    differences: list[Difference] = []
    for batch in batches:
        state, changes = step(state, batch.inputs, batch.now_us)
        count += 1
        if compare and changes != batch.changes and len(differences) < MOST_DIFFERENCES:
            differences.append(Difference(batch.number, batch.changes, changes))
    return Recovered(state, count, tuple(differences))


def reconcile(state: State, recorded: Sequence[Change]) -> int:
    """Makes exactly the recorded open alerts firing: people have been told of them. Gives the
    number of alerts that had to be made so, or had to be ended. One that no rule watches any more
    ends at the next grid point and says so."""
    wanted = {(c.rule, c.site, c.device, c.channel): c for c in recorded if c.state != "resolved"}
    mended = _mend_system(state, wanted)
    for view in state.views:
        for row, channel in enumerate(view.channels):
            site, device = state.devices.keys[int(view.device[row])]
            change = wanted.pop((view.rule.id, site, device, channel), None)
            mended += _mend(state, view, row, change)
    for change in wanted.values():
        state.orphans.append(
            Orphan(
                change.rule,
                change.site,
                change.device,
                change.channel,
                change.severity,
                change.audience,
                change.started_us,
                change.since_us,
            )
        )
        state.due_us = min(state.due_us, state.grid_us + US_PER_S)
    return mended + len(wanted)


def _mend_system(state: State, wanted: dict[tuple[str, str, str, str], Change]) -> int:
    ours = {key: wanted.pop(key) for key in list(wanted) if key[2] == SYSTEM_DEVICE}
    should = {change.rule: change.started_us for change in ours.values()}
    is_so = {code: system.started_us for code, system in state.system.items()}
    for change in ours.values():
        if is_so.get(change.rule) != change.started_us:
            body = {"severity": change.severity, "zh": change.text_zh, "en": change.text_en}
            state.system[change.rule] = System(change.started_us, {**change.evidence, **body})
    for code in is_so.keys() - should.keys():
        del state.system[code]
    return len(set(should.items()) ^ set(is_so.items()))


def _mend(state: State, view: View, row: int, change: Change | None) -> int:
    alerts, number = state.alerts, int(view.alert[row])
    firing = bool(alerts.firing[number])
    if change is None:
        if firing:
            alerts.firing[number] = False
            alerts.unknown[number] = False
            alerts.since_us[number] = NEVER_US
        return int(firing)
    unknown = change.state == "unknown"
    same = firing and int(alerts.started_us[number]) == change.started_us
    if same and bool(alerts.unknown[number]) == unknown:
        return 0
    alerts.firing[number] = True
    alerts.unknown[number] = unknown
    alerts.started_us[number] = change.started_us
    alerts.fired_since_us[number] = change.since_us
    alerts.word[number] = YES
    alerts.touched[number] = True
    alerts.due_us[number] = np.int64(state.grid_us + US_PER_S)
    state.due_us = min(state.due_us, state.grid_us + US_PER_S)
    return 1
