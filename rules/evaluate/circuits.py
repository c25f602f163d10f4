"""Composed circuit-days: a recorded background, in half of them a recorded charge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ingest.clock import parse_us
from ingest.readings import Times
from rules.flying.minutes import US_PER_MINUTE
from rules.rule import Rulebook
from rules.rulebook import shipped_rulebook
from rules.scoring.alerts import by_device, read_alerts
from rules.scoring.composed import BACKGROUNDS, Circuit, Part, Recipe, composed_circuits
from rules.scoring.found import FIGURES, Outcome, Unit, false_row, found_row, grouped, outcomes
from rules.scoring.loads import DAY_MINUTES
from rules.scoring.readings import Run
from rules.scoring.table import Cell, Table
from rules.scoring.through import run_rules

RULE = "flying_wire_meter"
DAYS = 100  # of each background
MIDNIGHT_US = parse_us("2026-01-05T00:00:00Z")  # the recordings' own dates do not matter


def score_circuits(
    data: Path,
    *,
    seed: int = 1,
    predictions: Path | None = None,
    alerts: Path | None = None,
    part: Part = "report",
    days: int = DAYS,
    rulebook: Rulebook | None = None,
) -> Table:
    """Alerts on 3 x `days` circuit-days: those of rule RULE (of the
    shipped rulebook unless another is given), or of a file
    that a replay of the same days wrote. `part="report"`: only backgrounds that nothing was
    tuned on."""
    if predictions is not None:
        raise ValueError("circuits are scored by alerts, not row by row: give --alerts")
    circuits = list(composed_circuits(Recipe(data, seed, part), days))
    if alerts is None:
        shown = circuit_readings(circuits)
        found = run_rules(rulebook or shipped_rulebook(), "circuit_meter", shown, (RULE,))
    else:
        found = read_alerts(alerts, (RULE,))
    results = outcomes([_unit(circuit) for circuit in circuits], by_device(found))
    return Table(
        title=f"circuits, seed {seed}, backgrounds: {part}",
        columns=("background", "what", "level", *FIGURES),
        rows=tuple(_rows(results)),
        notes=(
            "found: an alert from plug-in to 30 min after the end; the same three charges recur,",
            "so recall is an upper bound. Notebook days are reported apart.",
        ),
    )


def minute_times() -> Times:
    """(1440,) µs: the minutes of the day that all circuits share."""
    return MIDNIGHT_US + np.arange(DAY_MINUTES, dtype=np.int64) * US_PER_MINUTE


def circuit_readings(circuits: Iterable[Circuit]) -> Iterator[Run]:
    """What the meters of these days say, for `rules.scoring.readings.write_readings`."""
    for circuit in circuits:
        yield circuit.name, "main", "power.active", minute_times(), circuit.power_w


def _unit(circuit: Circuit) -> Unit:
    group = (circuit.background, circuit.kind, f"x{circuit.level:g}" if circuit.charged else "")
    if not circuit.charged:
        return Unit(circuit.name, group, circuit.kind, 1.0)
    plug_in_us, end_us = (
        MIDNIGHT_US + minute * US_PER_MINUTE for minute in (circuit.plug_in, circuit.end)
    )
    return Unit(circuit.name, group, "outside the charge", 1.0, plug_in_us, end_us)


def _rows(results: Sequence[Outcome]) -> list[tuple[Cell, ...]]:
    charged = [result for result in results if result.unit.plug_in_us is not None]
    rows = [found_row(group, part) for group, part in sorted(grouped(charged).items())]
    for background in (*BACKGROUNDS, "all"):
        here = [r for r in charged if background in {"all", r.unit.group[0]}]
        rows.append(found_row((background, "every charge", ""), here))
    classes = sorted({result.unit.cls for result in results})
    for background in (*BACKGROUNDS, "all"):
        mine = [r for r in results if background in {"all", r.unit.group[0]}]
        for cls in classes:
            part = [result for result in mine if result.unit.cls == cls]
            rows.append(false_row((background, f"false: {cls}", ""), part))
        rows.append(false_row((background, "false: every day", ""), mine))
    return rows


EVALUATE = score_circuits
