"""What a dialect is: bytes of a message to observations, events and presence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from ingest.inputs import Json


class Inbound(NamedTuple):
    """One message as it came. The topic is text: bytes that are not UTF-8 never get this far."""

    topic: str
    payload: bytes
    arrival_us: int
    retain: bool = False
    dup: bool = False
    qos: int = 1


class Observation(NamedTuple):
    """One value as the device said it, in the catalogue's unit. `device` is what the device calls
    itself ("" for the sender); `time_us` is None where it gave no time."""

    device: str
    channel: str
    metric: str
    value: float
    time_us: int | None
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """An event as the device said it."""

    device: str
    channel: str
    kind: str
    id: str
    phase: Literal["start", "update", "end"]
    time_us: int | None
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signal:
    """Presence as the device, or the broker in its name, said it."""

    device: str
    state: Literal["online", "offline", "asleep"]
    source: Literal["birth", "will", "availability", "session"]
    time_us: int | None = None


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a device says it is: channels, metrics, units, and how often it means to speak."""

    device: str
    model: str
    firmware: str
    channels: tuple[tuple[str, str, str], ...]  # channel, metric, unit
    interval_s: float | None


@dataclass(frozen=True, slots=True)
class Flaw:
    """One part of a message that could not be used; the rest of the message stands."""

    where: str
    reason: str


@dataclass(slots=True)
class Decoded:
    """All that a message says. `key` names the message among the sender's own re-sends."""

    principal: str
    observations: list[Observation] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    descriptors: list[Descriptor] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)
    key: str | None = None


class RefusedError(Exception):
    """A message that says nothing usable. The text is for a technician."""


State = dict[str, Any]
"""What a stateful dialect remembers of a principal between messages; owned by the caller."""


class Dialect(Protocol):
    """A file on the dialects' shelf ends in a value `DIALECT` that is one of these."""

    @property
    def name(self) -> str: ...

    @property
    def filters(self) -> tuple[str, ...]:
        """The MQTT topic filters under which such messages arrive."""
        ...

    def decode(self, message: Inbound, state: State) -> Decoded:
        """Raises RefusedError, and never anything else, whatever the bytes are."""
        ...
