"""What a device type declares: its channels, what they measure, its pace and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ingest.metrics import CATALOGUE


@dataclass(frozen=True, slots=True)
class Quantity:
    """A metric of a channel, with bounds that are tighter than the catalogue's where known."""

    metric: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that rules may ask for as `param.NAME`; the registry may override it per device."""

    value: float
    unit: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class DeviceType:
    """`channels` maps a channel name or pattern (`port.*`) to what it measures. `interval_s` is the
    pace that devices of this type are expected to keep; after `stale_after_s` without a reading
    a value is unknown."""

    name: str
    zh: str
    en: str
    channels: Mapping[str, tuple[Quantity, ...]]
    interval_s: float
    stale_after_s: float
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def bounds(self, channel: str, metric: str) -> tuple[float, float]:
        """What is plausible there: the type's word, else the catalogue's; KeyError: no metric."""
        for pattern, quantities in self.channels.items():
            if fnmatchcase(channel, pattern):
                for quantity in quantities:
                    if quantity.metric == metric:
                        return quantity.low, quantity.high
        known = CATALOGUE[metric]
        return known.low, known.high


def measures(*quantities: str | tuple[str, float, float]) -> tuple[Quantity, ...]:
    """Quantities from catalogue words; a triple narrows the bounds."""
    made = []
    for entry in quantities:
        if isinstance(entry, str):
            known = CATALOGUE[entry]
            made.append(Quantity(entry, known.low, known.high))
        else:
            made.append(Quantity(*entry))
    return tuple(made)
