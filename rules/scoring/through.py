"""Recordings through the engine itself, with the shipped rules: what a replay would say."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from ingest.changes import Change
from ingest.clock import US_PER_S
from ingest.inputs import Inputs
from ingest.readings import Readings, SeriesTable
from ingest.readings import Series as Named
from rules.engine import start, step
from rules.rule import Rulebook
from rules.scoring.alerts import Alert
from rules.scoring.readings import Run

SITE = "recordings"


def run_rules(
    rulebook: Rulebook, device_type: str, runs: Iterable[Run], rules: Sequence[str] = ()
) -> list[Alert]:
    """The alerts of `rules` (all, if empty) on these series, each reading arriving at its time.
    Settled a minute past the last one."""
    chosen = tuple(rule for rule in rulebook.rules if not rules or rule.id in rules)
    table, readings = _readings(runs)
    if not len(readings):
        return []
    begin_us, end_us = int(readings.arrival_us[0]), int(readings.arrival_us[-1])
    types = {series.device: device_type for series in table.rows}
    state = start(dataclasses.replace(rulebook, rules=chosen), None, begin_us - US_PER_S, types)
    inputs = Inputs(readings, new_series=tuple(table.rows))
    _, changes = step(state, inputs, end_us + 60 * US_PER_S)
    return _alerts(changes)


def _readings(runs: Iterable[Run]) -> tuple[SeriesTable, Readings]:
    table, parts = SeriesTable(), []
    for device, channel, metric, time_us, value in runs:
        came = ~np.isnan(value)
        n = int(came.sum())
        number = np.full(n, table.number(Named(SITE, device, channel, metric)), np.int32)
        times = time_us[came]
        parts.append(Readings(times, times, number, value[came], np.zeros(n, np.uint16)))
    rows = Readings.concat(parts)
    return table, rows.take(np.argsort(rows.arrival_us, kind="stable"))


def _alerts(changes: Iterable[Change]) -> list[Alert]:
    open_: dict[str, Alert] = {}
    for change in changes:
        if change.state == "firing" and change.episode not in open_:
            begun = Alert(change.rule, change.device, change.at_us, None)
            open_[change.episode] = begun
        elif change.state == "resolved" and change.episode in open_:
            begun = open_[change.episode]
            open_[change.episode] = dataclasses.replace(begun, ended_us=change.at_us)
    return list(open_.values())
