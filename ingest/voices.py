"""Who speaks on a topic, in which dialect, and for which series: looked up once, remembered."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest import quarantine
from ingest.dialect import Dialect, State
from ingest.registry import Device, Registry

RESENDS = 8
"""Messages of one sender among which a re-send of its own is known again."""

TOPICS = 65_536
"""Topics that are remembered; when there are more, all are looked up anew."""


@dataclass(slots=True)
class Voice:
    """A principal that speaks a dialect. `numbers` maps (said device, channel, metric) to the
    number of a series; `recent` are the hashes of its newest messages that name themselves."""

    principal: str
    dialect: Dialect
    state: State = field(default_factory=dict)
    numbers: dict[tuple[str, str, str], int] = field(default_factory=dict)
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=RESENDS))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nobody is heard on a topic."""

    principal: str
    reason: str
    detail: str


class Voices:
    """Bounded by the registry: an unknown principal gets no voice and leaves nothing behind."""

    def __init__(self, registry: Registry, dialects: Sequence[Dialect]) -> None:
        self.registry = registry
        self._filters = [
            (name.split("/"), dialect) for dialect in dialects for name in dialect.filters
        ]
        self._voices: dict[tuple[str, str], Voice] = {}
        self._topics: dict[str, Voice] = {}

    def of(self, topic: str) -> Voice | Refusal:
        known = self._topics.get(topic)
        if known is not None:
            return known
        found = self._find(topic)
        if isinstance(found, Voice):
            if len(self._topics) >= TOPICS:
                self._topics.clear()
            self._topics[topic] = found
        return found

    def _find(self, topic: str) -> Voice | Refusal:
        levels = topic.split("/")
        for wanted, dialect in self._filters:
            if _matches(wanted, levels):
                return self._voice(levels[wanted.index("+")], dialect)
        return Refusal("", quarantine.NO_DIALECT, "no dialect listens to this topic")

    def _voice(self, name: str, dialect: Dialect) -> Voice | Refusal:
        principal = self.registry.principals.get(name)
        if principal is None:
            detail = f"principal {name!r} is not in the registry of {self.registry.site}"
            return Refusal(name, quarantine.UNKNOWN_PRINCIPAL, detail)
        if dialect.name not in principal.dialects:
            detail = (
                f"{name!r} may speak {', '.join(principal.dialects)}, and this is {dialect.name}"
            )
            return Refusal(name, quarantine.DIALECT_NOT_ALLOWED, detail)
        return self._voices.setdefault((name, dialect.name), Voice(name, dialect))

    def device(self, principal: str, said: str) -> Device | Refusal:
        """The device that a principal means, if it may speak for it."""
        device = self.registry.speaks_for(principal, said)
        if device is not None:
            return device
        if self.registry.known_elsewhere(said):
            detail = f"{principal!r} speaks for {said!r}, which belongs to another principal"
            return Refusal(principal, quarantine.SPOOF_SUSPECT, detail)
        who = f"device {said!r}" if said else "a device of that name"
        detail = f"the registry has no {who} of principal {principal!r}"
        return Refusal(principal, quarantine.UNKNOWN_DEVICE, detail)


def _matches(wanted: list[str], levels: list[str]) -> bool:
    """Whether a topic's levels fit a filter's; its first `+` is the principal."""
    for row, level in enumerate(wanted):
        if level == "#":
            return True
        if row >= len(levels) or (level != "+" and level != levels[row]):
            return False
    return len(wanted) == len(levels)
