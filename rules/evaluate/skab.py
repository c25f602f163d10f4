"""SKAB: a pump loop with 20 labelled faults; upstream's scoring, and what F1 alone hides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rules.rulebook import shipped_rulebook
from rules.scoring.alerts import Alert, by_device, read_alerts
from rules.scoring.pointwise import Scored, alert_flags, read_predictions, score_rows
from rules.scoring.pumps import Experiment, experiments, pump_readings
from rules.scoring.table import Cell, Table
from rules.scoring.through import run_rules

HIGHEST_FAR = 0.15  # an F1 at a higher rate does not count: always alarming scores 0.695


def score_skab(
    data: Path,
    *,
    seed: int = 1,
    predictions: Path | None = None,
    alerts: Path | None = None,
) -> Table:
    """Rows 0 to 399 of a file are for training, all later ones are scored. Without predictions or
    alerts it is the shipped pump rules that are scored; alerts must be those of a replay of the
    same `experiments(data, seed)`: cut, with shifted clocks."""
    if predictions is not None and alerts is not None:
        raise ValueError("skab is scored by --predictions or by --alerts, not by both")
    runs = experiments(data, seed)
    if predictions is not None:
        masks = read_predictions(predictions, runs)
        scored = [(run, score_rows(run, masks[run.file])) for run in runs]
    else:
        groups = by_device(read_alerts(alerts) if alerts is not None else _shipped(runs))
        scored = [
            (run, score_rows(run, alert_flags(run, mine), mine))
            for run in runs
            for mine in [groups.get(run.device, [])]
        ]
    return Table(
        title=f"skab, seed {seed}",
        columns=("figure", "value"),
        rows=tuple(_rows(scored)),
        notes=("F1 counts only with FAR <= 15 %: 53 % of the test rows are anomalous.",),
    )


def _shipped(runs: Sequence[Experiment]) -> list[Alert]:
    shown = (reading for run in runs for reading in pump_readings(run))
    return run_rules(shipped_rulebook(), "pump", shown)


def _rows(scored: Sequence[tuple[Experiment, Scored]]) -> list[tuple[Cell, ...]]:
    faults = [result for run, result in scored if run.labelled]
    free = [result for run, result in scored if not run.labelled]
    tp, fp, fn, tn = (
        sum(getattr(result, name) for result in faults) for name in ("tp", "fp", "fn", "tn")
    )
    f1 = tp / (tp + (fp + fn) / 2) if tp else 0.0
    far, mar = fp / (fp + tn), fn / (fn + tp)
    delays = [result.delay_s for result in faults if result.delay_s is not None]
    normal_h = sum(result.normal_h for result in faults)
    return [
        ("F1", f1),
        ("FAR", far),
        ("MAR", mar),
        ("F1 counts", "yes" if far <= HIGHEST_FAR else f"no: FAR above {HIGHEST_FAR:.0%}"),
        ("test rows", tp + fp + fn + tn),
        ("anomalous rows", tp + fn),
        ("faults", len(faults)),
        ("faults hit", len(delays)),
        ("faults in which an alarm began", sum(result.inside for result in faults)),
        ("median delay s", float(np.median(delays)) if delays else None),
        ("false alarms per normal h", sum(result.false_starts for result in faults) / normal_h),
        *(_free_rows(free)),
    ]


def _free_rows(free: Sequence[Scored]) -> list[tuple[Cell, ...]]:
    hours = sum(result.normal_h for result in free)
    if not hours:
        return []
    return [("anomaly-free: alarms per h", sum(result.false_starts for result in free) / hours)]


EVALUATE = score_skab
