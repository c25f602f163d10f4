"""The engine: inputs and a moment in, alert changes out. Pure: no clock, no input, no output."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ingest.changes import Change
from ingest.clock import US_PER_S
from ingest.inputs import Control, Event, Inputs, Presence
from ingest.readings import NOT_FRESH, Readings, Times
from ingest.registry import Registry
from rules.alerts import by_rule, hear, on_grid, settle
from rules.controls import obey
from rules.instances import activate_device, device_number, extend, view_of
from rules.kind import FOREVER_US, SILENT, Rows, Verdicts
from rules.moments import take_in
from rules.rule import Rulebook
from rules.scopes import expires_us, memory_of, scope_of
from rules.signs import expire_sightings, hear_device
from rules.state import State, View, Watch
from rules.telling import in_order, orphan_changes, told

VERSION = 1
"""Raised with every change that may make the same inputs give other alert changes."""

_STALE = np.uint16(NOT_FRESH)


def start(
    rulebook: Rulebook,
    registry: Registry | None,
    now_us: int,
    types: Mapping[str, str] | None = None,
) -> State:
    """A state that knows the registry's devices since `now_us`, and nothing of them yet. `types`
    are the types of devices that are in no registry; a device of no type fits no rule that asks
    for one."""
    state = State(rulebook, registry, dict(types or {}), grid_us=now_us // US_PER_S * US_PER_S)
    state.views = [view_of(rule, number) for number, rule in enumerate(rulebook.rules)]
    for name in registry.devices if registry else ():
        activate_device(state, device_number(state, state.site, name), now_us)
    return state


def step(state: State, inputs: Inputs, now_us: int) -> tuple[State, tuple[Change, ...]]:
    """Takes in a batch and settles every grid point up to `now_us`. The state that is passed in
    must not be used again.

    All input that arrived up to `now_us` must be in this batch or an earlier one: what comes later
    with an arrival at or before a settled grid point counts as arriving just after that point.
    Rows, events and records ahead of `now_us` wait. Given this, the changes do not depend on how
    the input is cut into batches.
    """
    extend(state, inputs.new_series)
    state.queue += [*inputs.events, *inputs.presences, *inputs.controls]
    rows = _admitted(state, inputs.readings, now_us)
    last_us = now_us // US_PER_S * US_PER_S
    changes: list[Change] = []
    begin = 0
    while True:
        row_grid = _grid(int(rows.arrival_us[begin])) if begin < len(rows) else int(FOREVER_US)
        grid_us = min(row_grid, _queue_grid(state), state.due_us)
        if grid_us > last_us and begin == len(rows):
            break
        state.grid_us = max(state.grid_us, grid_us - US_PER_S)
        if row_grid == grid_us:
            end = int(np.searchsorted(rows.arrival_us, grid_us, "right"))
            take_in(state, rows.take(slice(begin, end)))
            state.due_us = min(state.due_us, grid_us)
            begin = end
        if grid_us <= last_us:
            changes += _settled(state, grid_us)
    state.grid_us = max(state.grid_us, last_us)
    return state, tuple(changes)


def _admitted(state: State, readings: Readings, now_us: int) -> Readings:
    """The fresh rows that have arrived by now, by arrival and then time; the others wait."""
    if len(state.waiting):
        readings = Readings.concat([state.waiting, readings])
        state.waiting = Readings.empty()
    stale = (readings.flags & _STALE) != 0
    if stale.any():
        readings = readings.take(~stale)
    if not len(readings):
        return readings
    arrival = readings.arrival_us
    if (arrival <= state.grid_us).any():
        arrival = np.maximum(arrival, state.grid_us + 1)
        readings = Readings(
            readings.time_us, arrival, readings.series, readings.value, readings.flags
        )
    if arrival.max() > now_us:
        state.waiting = readings.take(arrival > now_us)
        readings = readings.take(arrival <= now_us)
    return _ordered(readings)


def _ordered(readings: Readings) -> Readings:
    arrival, time = readings.arrival_us, readings.time_us
    later = arrival[1:] > arrival[:-1]
    if (later | ((arrival[1:] == arrival[:-1]) & (time[1:] >= time[:-1]))).all():
        return readings
    return readings.take(np.lexsort((time, arrival)))


def _grid(time_us: int) -> int:
    return -(-time_us // US_PER_S) * US_PER_S


def _queue_grid(state: State) -> int:
    if not state.queue:
        return int(FOREVER_US)
    return max(state.grid_us + US_PER_S, min(_grid(item.arrival_us) for item in state.queue))


def _settled(state: State, grid_us: int) -> list[Change]:
    """Everything that happens at one grid point."""
    state.grid_us = grid_us
    controls = _heard(state, grid_us)
    alerts = state.alerts
    due = alerts.touched[: alerts.n] | (alerts.due_us[: alerts.n] <= grid_us)
    instances, parts = by_rule(alerts, np.flatnonzero(due))
    changes: list[Change] = []
    if len(instances):
        kinds_due = _judged(state, instances, parts, grid_us)
        turns = settle(alerts, instances, grid_us)
        alerts.due_us[instances] = np.minimum(alerts.due_us[instances], kinds_due)
        alerts.touched[instances] = False
        changes += told(state, turns, grid_us)
    changes += in_order(orphan_changes(state.orphans, grid_us))
    state.orphans = []
    for control in controls:
        changes += obey(state, control, grid_us)
    state.due_us = min(
        int(state.alerts.due_us[: state.alerts.n].min(initial=FOREVER_US)),
        _grid(state.sightings.due_us()),
    )
    return changes


def _judged(state: State, instances: Rows, parts: list[tuple[int, slice]], grid_us: int) -> Times:
    """Lets the kinds judge; (k,) the next grid points at which they want to be asked again."""
    alerts = state.alerts
    now_us = np.full(len(instances), grid_us)
    word = np.full(len(instances), SILENT)
    clear = np.full(len(instances), SILENT)
    ask = alerts.ask_us[instances]
    # what came in was judged when it came, and fresh values only put off their going stale: so
    # where nothing else hangs on time, only who is due is asked again, or who has no next time
    asked = (ask <= grid_us) | (ask == FOREVER_US)
    for rule, part in parts:
        view = state.views[rule]
        at = np.arange(part.start, part.stop)
        if not view.timed:
            at = at[asked[part]]
        if not len(at):
            continue
        rows = alerts.row[instances[at]].astype(np.intp)
        word[at], due = _judge(state, view, view.main, rows, now_us[at])
        if view.clear:
            clear[at], later = _judge(state, view, view.clear, rows, now_us[at])
            due = np.minimum(due, later)
        ask[at] = on_grid(due)
    hear(alerts, instances, word, clear, now_us)
    alerts.ask_us[instances] = ask
    return ask


def _judge(
    state: State, view: View, watch: Watch, rows: Rows, now_us: Times
) -> tuple[Verdicts, Times]:
    scope = scope_of(state, view, watch, rows, now_us)
    memory = memory_of(view, watch, rows)
    word = watch.kind.judge(memory, scope)
    due = watch.kind.due_us(memory, scope)
    # what was due by now has been judged now
    due = np.where(due <= now_us, FOREVER_US, due)
    return word, np.minimum(due, expires_us(state, view, watch, rows, scope))


def _heard(state: State, grid_us: int) -> list[Control]:
    """Events and presence up to the grid point, in order of arrival; the controls among them."""
    now: list[Event | Presence | Control] = []
    if state.queue:
        now = [item for item in state.queue if item.arrival_us <= grid_us]
        state.queue = [item for item in state.queue if item.arrival_us > grid_us]
        now.sort(key=lambda item: item.arrival_us)
    for item in now:
        if not isinstance(item, Control) and not item.flags & NOT_FRESH:
            hear_device(state, item)
    expire_sightings(state, grid_us)
    return sorted((c for c in now if isinstance(c, Control)), key=lambda c: (c.arrival_us, c.id))
