"""Recordings as the long CSV that a replay reads."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ingest.clock import format_us
from ingest.readings import Numbers, Times

HEADER = ("time", "device", "type", "channel", "metric", "value")
Run = tuple[str, str, str, Times, Numbers]
"""Device, channel, metric, and their readings; NaN is a reading that did not come."""


def write_readings(path: Path, device_type: str, runs: Iterable[Run]) -> int:
    """Writes all runs, each in order of time (a replay sorts them); how many readings."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(HEADER)
        for device, channel, metric, time_us, value in runs:
            for row in np.flatnonzero(~np.isnan(value)).tolist():
                moment = format_us(int(time_us[row]))
                writer.writerow((moment, device, device_type, channel, metric, float(value[row])))
                count += 1
    return count
