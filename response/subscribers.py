"""Who is told, by which way, and of what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ingest.changes import SEVERITIES, Severity


@dataclass(frozen=True, slots=True)
class Subscriber:
    """`name` is unique. Told from `min_severity` on, and of `buildings` only (empty: of all, and
    of what stands in none)."""

    name: str
    notifier: str
    address: str
    language: Literal["zh", "en"] = "zh"
    min_severity: Severity = "warning"
    buildings: tuple[str, ...] = ()

    def wants(self, severity: Severity, building: str) -> bool:
        severe_enough = SEVERITIES.index(severity) <= SEVERITIES.index(self.min_severity)
        return severe_enough and (not self.buildings or building in self.buildings)
