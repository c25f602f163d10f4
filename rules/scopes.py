"""What a kind of rule is shown: the newest values of its instances, NaN where stale."""

from __future__ import annotations

import numpy as np

from ingest.clock import US_PER_S
from ingest.readings import Times
from rules.kind import FOREVER_US, NEVER_US, Columns, Rows, Scope
from rules.state import State, View, Watch


def scope_of(
    state: State, view: View, watch: Watch, rows: Rows, now_us: Times, fresh_round: int = -1
) -> Scope:
    """The scope of the instances `rows` (k,) at their moments `now_us` (k,). Fresh is what the
    round `fresh_round` brought."""
    columns = state.series
    series = watch.series[rows]
    value = columns.value[series]
    if fresh_round >= 0 and view.clear is None and len(watch.metrics) == 1:
        # whoever is touched and looks at one metric was touched by that metric
        return Scope(
            value=value,
            time_us=columns.time_us[series],
            fresh=np.ones(value.shape, bool),
            heard_us=now_us,
            known_us=view.known_us[rows],
            now_us=now_us,
            parameters={name: column[rows] for name, column in watch.parameters.items()},
            seen_since_us={kind: _seen(state, view, rows, kind) for kind in watch.kind.sightings},
        )
    age_us = now_us[:, None] - columns.arrival_us[series]
    value[age_us > view.stale_us[rows][:, None]] = np.nan
    return Scope(
        value=value,
        time_us=columns.time_us[series],
        fresh=columns.mark[series] == fresh_round,
        heard_us=state.devices.heard_us[view.device[rows]],
        known_us=view.known_us[rows],
        now_us=now_us,
        parameters={name: column[rows] for name, column in watch.parameters.items()},
        seen_since_us={kind: _seen(state, view, rows, kind) for kind in watch.kind.sightings},
    )


def memory_of(view: View, watch: Watch, rows: Rows) -> Columns:
    """The memory of the instances `rows` alone: a copy, unless they are all there are, in order."""
    n = len(view.channels)
    if len(rows) == n and (rows == np.arange(n)).all():
        return {name: column[:n] for name, column in watch.memory.items()}
    return {name: column[rows] for name, column in watch.memory.items()}


def expires_us(state: State, view: View, watch: Watch, rows: Rows, scope: Scope) -> Times:
    """(k,) the first grid point at which one of the values will be stale."""
    arrival = state.series.arrival_us[watch.series[rows]]
    edge = (arrival + view.stale_us[rows][:, None]) // US_PER_S * US_PER_S + US_PER_S
    first: Times = np.where(np.isnan(scope.value), FOREVER_US, edge).min(axis=1, initial=FOREVER_US)
    return first


def _seen(state: State, view: View, rows: Rows, kind: str) -> Times:
    if not state.sightings.since_us:
        return np.full(len(rows), NEVER_US)
    places = [view.places[row] for row in rows.tolist()]
    since = {place: state.sightings.seen_since_us(place, kind) for place in set(places)}
    return np.array([since[place] for place in places], np.int64)
