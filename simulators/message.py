"""A message that a simulated device publishes."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """`time_us` is when it is published, on the service clock."""

    time_us: int
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False

    def at(self, time_us: int) -> Message:
        return self._replace(time_us=time_us)

    @property
    def principal(self) -> str:
        return self.topic.split("/")[2]


def topic(principal: str, level: str) -> str:
    """Where a principal publishes in the native dialect."""
    return f"courtyard/v1/{principal}/{level}"
