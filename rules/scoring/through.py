"""Recordings replayed through the engine with the rules of a rulebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ingest.readings import Readings, Series, SeriesTable
from rules.replay import replay
from rules.rule import Rulebook
from rules.scoring.alerts import Alert
from rules.scoring.readings import Run

SITE = "recordings"


def run_rules(
    rulebook: Rulebook, device_type: str, runs: Iterable[Run], rules: Sequence[str] = ()
) -> list[Alert]:
    """The alerts of `rules` (all, if empty) on these series, each reading arriving at its time."""
    chosen = tuple(rule for rule in rulebook.rules if not rules or rule.id in rules)
    table, readings = _readings(runs)
    types = {series.device: device_type for series in table.rows}
    slices = [(readings, tuple(table.rows))] if len(readings) else []
    return [
        Alert(episode.rule, episode.device, episode.started_us, episode.ended_us)
        for episode in replay(replace(rulebook, rules=chosen), None, slices, types=types)
    ]


def _readings(runs: Iterable[Run]) -> tuple[SeriesTable, Readings]:
    """All runs by arrival; rows of the same arrival in the order of the runs."""
    table, parts = SeriesTable(), []
    for device, channel, metric, time_us, value in runs:
        came = ~np.isnan(value)
        n = int(came.sum())
        number = np.full(n, table.number(Series(SITE, device, channel, metric)), np.int32)
        times = time_us[came]
        parts.append(Readings(times, times, number, value[came], np.zeros(n, np.uint16)))
    rows = Readings.concat(parts)
    return table, rows.take(np.argsort(rows.arrival_us, kind="stable"))
