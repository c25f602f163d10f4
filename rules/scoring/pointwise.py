"""Rows flagged against rows labelled: F1, rates, segments hit, delays, false runs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.clock import US_PER_S
from ingest.readings import Mask
from rules.scoring.alerts import Alert
from rules.scoring.pumps import TRAINING_ROWS, Experiment


@dataclass(frozen=True, slots=True)
class Scored:
    """One experiment's test rows: counts, and what became of its fault. `delay_s` None: missed;
    `inside` whether a flagged run or an alert began within the fault."""

    tp: int
    fp: int
    fn: int
    tn: int
    delay_s: float | None
    inside: bool
    false_starts: int
    normal_h: float


class PredictionsError(ValueError):
    """A file of predictions that cannot be used; the text says where and why."""


def read_predictions(path: Path, experiments: Sequence[Experiment]) -> dict[str, Mask]:
    """`file,row,flag` to a mask a file: rows count from 0, those that are not named are not
    flagged. A file may be named with or without `.csv`."""
    masks = {run.file: np.zeros(len(run.anomaly), np.bool_) for run in experiments}
    with path.open(encoding="utf-8", newline="") as lines:
        for number, entry in enumerate(csv.DictReader(lines), 2):
            try:
                file = entry["file"].removesuffix(".csv") + ".csv"
                row, flag = int(entry["row"]), float(entry["flag"]) != 0
                if row < 0:
                    raise IndexError(row)
                masks[file][row] = flag
            except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
                raise PredictionsError(
                    f"{path}:{number} write file,row,flag with a file of the set and a row of it,"
                    f" from 0: {error!r}"
                ) from None
    return masks


def alert_flags(run: Experiment, alerts: Sequence[Alert]) -> Mask:
    """Rows with started_at <= time < ended_at of any alert; an open one lasts to the end."""
    flags = np.zeros(len(run.anomaly), np.bool_)
    for alert in alerts:
        until = np.iinfo(np.int64).max if alert.ended_us is None else alert.ended_us
        flags |= (run.time_us >= alert.started_us) & (run.time_us < until)
    return flags


def score_rows(run: Experiment, flags: Mask, alerts: Sequence[Alert] | None = None) -> Scored:
    """`alerts` None: what begins is a run of flagged test rows; else it is an alert."""
    label, flag = run.anomaly[TRAINING_ROWS:], flags[TRAINING_ROWS:]
    time_us = run.time_us[TRAINING_ROWS:]
    hits = np.flatnonzero(label & flag)
    first = int(np.argmax(label)) if label.any() else 0
    delay = (int(time_us[hits[0]]) - int(time_us[first])) / US_PER_S if len(hits) else None
    if alerts is None:
        inside, false = _runs(label, flag)
    else:
        inside, false = _starts(run, alerts)
    return Scored(
        tp=len(hits),
        fp=int(np.count_nonzero(flag & ~label)),
        fn=int(np.count_nonzero(label & ~flag)),
        tn=int(np.count_nonzero(~label & ~flag)),
        delay_s=delay,
        inside=inside,
        false_starts=false,
        normal_h=float(np.count_nonzero(~label)) / 3_600.0,  # about one row a second
    )


def _runs(label: Mask, flag: Mask) -> tuple[bool, int]:
    """Whether a run begins within the fault (one that was on from the first row does not), and
    how many runs touch no labelled row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flag, [False]]).astype(np.int8)))
    inside, false = False, 0
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        inside |= bool(start > 0 and label[start])
        false += not label[start:end].any()
    return inside, false


def _starts(run: Experiment, alerts: Sequence[Alert]) -> tuple[bool, int]:
    """Whether an alert started within the fault, and how many started on a normal test row."""
    inside, false = False, 0
    for alert in alerts:
        row = int(np.searchsorted(run.time_us, alert.started_us, side="right")) - 1
        if row >= TRAINING_ROWS and alert.started_us <= run.time_us[-1]:
            inside |= bool(run.anomaly[row])
            false += not run.anomaly[row]
    return inside, false
