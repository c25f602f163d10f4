"""SKAB's recordings, as a rule meets them that knows neither their start nor their date."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.clock import US_PER_S, parse_us
from ingest.readings import Mask, Numbers, Times

TRAINING_ROWS = 400
MOST_CUT = 150
BEGIN_US = parse_us("2026-01-05T00:00:00Z")
SHIFT_S = 3_600  # every file starts within the hour after BEGIN_US, at a random second

# column to metric and factor of the catalogue's unit; the thermocouple is in the fluid
COLUMNS = {
    "Accelerometer1RMS": ("pump", "vibration.acceleration.rms", 1.0),
    "Accelerometer2RMS": ("motor", "vibration.acceleration.rms", 1.0),
    "Current": ("main", "current", 1.0),
    "Pressure": ("main", "pressure", 100.0),  # bar to kPa
    "Temperature": ("motor", "temperature", 1.0),
    "Thermocouple": ("fluid", "temperature", 1.0),
    "Voltage": ("main", "voltage", 1.0),
    "Volume Flow RateRMS": ("main", "flow", 0.06),  # l/min to m3/h
}


@dataclass(frozen=True, slots=True)
class Experiment:
    """One file: `values` by column of COLUMNS (n,), `anomaly` (n,), all False where unlabelled.
    `cut` rows from the start are not shown to a rule; `time_us` is the shifted clock."""

    file: str
    time_us: Times
    values: dict[str, Numbers]
    anomaly: Mask
    cut: int

    @property
    def device(self) -> str:
        return self.file.removesuffix(".csv").replace("/", "_")

    @property
    def labelled(self) -> bool:
        return not self.file.startswith("anomaly-free")


def experiments(data: Path, seed: int) -> list[Experiment]:
    """All files by name. The same seed gives the same cuts and clocks. OSError: no recordings."""
    folder = data / "skab"
    files = sorted(str(path.relative_to(folder)) for path in folder.glob("*/*.csv"))
    if not files:
        raise FileNotFoundError(f"{folder} has no */*.csv")
    rng = np.random.default_rng([seed, 400])
    drawn = [(int(rng.integers(MOST_CUT + 1)), int(rng.integers(SHIFT_S))) for _ in files]
    return [_read(folder, file, *draw) for file, draw in zip(files, drawn, strict=True)]


def _read(folder: Path, file: str, cut: int, shift_s: int) -> Experiment:
    with (folder / file).open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))
    times = np.array([parse_us(row["datetime"]) for row in rows], np.int64)
    times += BEGIN_US + shift_s * US_PER_S - times[0]
    values = {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS}
    anomaly = np.array([float(row.get("anomaly") or 0) > 0 for row in rows], np.bool_)
    return Experiment(file, times, values, anomaly, cut)


def pump_readings(experiment: Experiment) -> Iterator[tuple[str, str, str, Times, Numbers]]:
    """(device, channel, metric, time_us, value) of each series that a rule is shown."""
    for name, (channel, metric, factor) in COLUMNS.items():
        shown = experiment.values[name][experiment.cut :] * factor
        yield experiment.device, channel, metric, experiment.time_us[experiment.cut :], shown
