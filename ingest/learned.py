"""What a pipeline knows from batch to batch: series, what is plausible there, what was refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from ingest.quarantine import Samples
from ingest.readings import Numbers, SeriesTable


@dataclass(slots=True)
class Limits:
    """What is plausible for each series, as columns by series number."""

    low: Numbers = field(default_factory=lambda: np.empty(0))
    high: Numbers = field(default_factory=lambda: np.empty(0))

    def put(self, number: int, low: float, high: float) -> None:
        if number >= len(self.low):
            more = max(number + 1, 2 * len(self.low)) - len(self.low)
            self.low = np.append(self.low, np.full(more, np.nan))
            self.high = np.append(self.high, np.full(more, np.nan))
        self.low[number], self.high[number] = low, high


@dataclass(slots=True)
class Learned:
    """What stays from batch to batch: the series table and what is plausible there."""

    table: SeriesTable
    limits: Limits = field(default_factory=Limits)
    per_device: Counter[str] = field(default_factory=Counter)
    samples: Samples = field(default_factory=Samples)
    counted: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def of(table: SeriesTable) -> Learned:
        return Learned(table, per_device=Counter(series.device for series in table.rows))
