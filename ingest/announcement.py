"""What the service says of itself on the broker, retained: by which clock it judges times."""

from __future__ import annotations

import msgspec

from ingest.clock import Clock

TOPIC = "courtyard/v1/service/clock"
"""`service` is a reserved principal, as `provision` is."""


class Announcement(msgspec.Struct, frozen=True):
    """now = start + (wall - wall0) x speed, in µs; `start_us` None: wall time."""

    start_us: int | None
    speed: float
    wall0_us: int

    @property
    def simulated(self) -> bool:
        return self.clock().simulated

    def clock(self) -> Clock:
        return Clock(self.start_us, self.speed, self.wall0_us)


def announcement(clock: Clock) -> bytes:
    """The payload for `TOPIC`."""
    return msgspec.json.encode(Announcement(clock.start_us, clock.speed, clock.wall0_us))
