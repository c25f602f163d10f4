"""The service clock: wall time, or for demo and tests a start and a speed of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """now = start + (wall - wall0) x speed, in µs since 1970 UTC."""

    start_us: int | None = None
    speed: float = 1.0
    wall0_us: int = field(default_factory=lambda: time.time_ns() // 1_000)

    @property
    def simulated(self) -> bool:
        return self.start_us is not None or self.speed != 1.0

    def now_us(self) -> int:
        wall_us = time.time_ns() // 1_000
        if self.start_us is None and self.speed == 1.0:
            return wall_us
        start_us = self.wall0_us if self.start_us is None else self.start_us
        return start_us + int((wall_us - self.wall0_us) * self.speed)

    def wall_s(self, service_s: float) -> float:
        """How many seconds of wall time pass while the service clock passes `service_s`."""
        return service_s / self.speed


def format_us(time_us: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`."""
    seconds, us = divmod(time_us, US_PER_S)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{us // 1_000:03d}Z"


def parse_us(text: str) -> int:
    """µs of an ISO 8601 time; one without a zone is UTC. ValueError says what was wrong."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole_s = int(moment.replace(microsecond=0).timestamp())
    return whole_s * US_PER_S + moment.microsecond


_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_duration_s(text: str) -> int:
    """Seconds of `50s`, `10m`, `2h` or `3d`."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS_S or not number.isdecimal():
        raise ValueError(f"{text!r} is no duration: write a whole number and s, m, h or d, as 10m")
    return int(number) * _UNITS_S[unit]


def format_duration(seconds: int) -> str:
    """The shortest exact form: 600 → 10m."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS_S[unit] == 0:
            return f"{seconds // _UNITS_S[unit]}{unit}"
    return f"{seconds}s"
