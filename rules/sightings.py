"""What cameras see now, by place: since when without a break."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.clock import US_PER_S
from ingest.inputs import Event
from rules.kind import FOREVER_US, NEVER_US

SILENT_US = 600 * US_PER_S
"""A sighting that is not updated for so long is over: its end was lost."""

OPEN_MAX = 64
"""Open sightings of one kind at one place; more than that say nothing new."""

Place = tuple[str, int]
"""Building and stairwell, 0 where it has none."""


@dataclass(slots=True)
class Sightings:
    """`open` maps (place, kind) to its open sightings, each by (device, channel, id) with the
    arrival of its newest word; `since_us` says since when there has been one without a break."""

    open: dict[tuple[Place, str], dict[tuple[str, str, str], int]] = field(default_factory=dict)
    since_us: dict[tuple[Place, str], int] = field(default_factory=dict)

    def hear(self, place: Place, event: Event, arrival_us: int) -> bool:
        """Takes in a fresh event; True if it began or ended what is seen at that place."""
        key, name = (place, event.kind), (event.device, event.channel, event.id)
        seen = self.open.setdefault(key, {})
        if event.phase == "end":
            seen.pop(name, None)
        elif name in seen or len(seen) < OPEN_MAX:
            seen[name] = arrival_us
        return self._settle(key, arrival_us)

    def expire(self, now_us: int) -> set[tuple[Place, str]]:
        """Closes what was silent for too long; what is no longer seen by that."""
        over = set()
        for key, seen in list(self.open.items()):
            for name, heard_us in list(seen.items()):
                if now_us - heard_us >= SILENT_US:
                    del seen[name]
            if self._settle(key, now_us):
                over.add(key)
        return over

    def due_us(self) -> int:
        """When the next silent one closes."""
        heard = [heard_us for seen in self.open.values() for heard_us in seen.values()]
        return min(heard) + SILENT_US if heard else int(FOREVER_US)

    def seen_since_us(self, place: Place, kind: str) -> int:
        """Since when some camera of that place sees it. A camera, or a place, without a stairwell
        stands for the whole building; a place without a building is seen by none."""
        since = [
            start
            for (there, what), start in self.since_us.items()
            if what == kind and _same_place(place, there)
        ]
        return min(since, default=int(NEVER_US))

    def _settle(self, key: tuple[Place, str], now_us: int) -> bool:
        if self.open[key]:
            began = key not in self.since_us
            self.since_us.setdefault(key, now_us)
            return began
        del self.open[key]
        return self.since_us.pop(key, None) is not None


def _same_place(one: Place, other: Place) -> bool:
    same = bool(one[0]) and one[0] == other[0]
    return same and (one[1] == other[1] or not one[1] or not other[1])
