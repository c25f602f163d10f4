"""What has been delivered and waits for its batch: bounded, stamped in the order of receipt."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple, Protocol

from ingest.clock import Clock
from ingest.dialect import Inbound

OVERHEAD_BYTES = 400
"""What a waiting message costs in memory beside its payload (measured: 320 with its topic)."""

SETTLE_S = 0.002
"""A batch waits so long for company; measured, longer only adds latency."""

SETTLES_UNDER_LOAD = 5
BUSY_MESSAGES = 50
"""So many in one settling time are a burst: a larger batch then costs less for each of them."""


class Delivery(NamedTuple):
    """A message, and what its acknowledgement needs. `refused`: why it says nothing usable."""

    inbound: Inbound
    mid: int = 0
    connection: int = 0
    epoch: int = 0
    refused: str = ""


class Taken(NamedTuple):
    """Deliveries in the order of receipt. Whatever comes later arrives after `now_us`."""

    deliveries: list[Delivery]
    now_us: int
    epoch: int


class Source(Protocol):
    """Where a pipeline's messages come from."""

    def take(self, limit: int, wait_s: float) -> Taken:
        """At most `limit` messages; after at most `wait_s` seconds also none."""
        ...

    def ack(self, deliveries: list[Delivery]) -> None:
        """To be called in the order of receipt, once they are on disk."""
        ...

    def stamp(self) -> int:
        """An arrival time of its own for something that is not a message."""
        ...

    def abort(self) -> None:
        """Nothing more is acknowledged or received, at once."""
        ...


class Waiting:
    """All but `take` is to be called with `lock` held."""

    def __init__(self, clock: Clock, max_messages: int, max_bytes: int, after_us: int = 0) -> None:
        self.lock = threading.Lock()
        self.room = threading.Condition(self.lock)
        self.epoch = 0
        self._arrived = threading.Condition(self.lock)
        self._idle = False
        self._clock = clock
        self._last_us = after_us
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._queue: list[Delivery] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._queue)

    def stamp(self) -> int:
        """The service clock, but always later than anything that was stamped or taken before."""
        self._last_us = max(self._clock.now_us(), self._last_us + 1)
        return self._last_us

    def full(self) -> bool:
        return len(self._queue) >= self._max_messages or self._bytes >= self._max_bytes

    def half_empty(self) -> bool:
        return 2 * len(self._queue) <= self._max_messages and 2 * self._bytes <= self._max_bytes

    def put(self, delivery: Delivery) -> None:
        self._queue.append(delivery)
        self._bytes += _bytes(delivery)
        if self._idle:
            self._idle = False
            self._arrived.notify()

    def wake(self) -> None:
        """Ends a wait in `take`."""
        self._arrived.notify()

    def take(self, limit: int, wait_s: float) -> Taken:
        with self.lock:
            if not self._queue:
                self._idle = True
                self._arrived.wait(wait_s)
                self._idle = False
        self._settle(limit // 4)
        with self.lock:
            return self._taken(limit)

    def _settle(self, enough: int) -> None:
        """Waits a little for company, and longer while much is coming."""
        waiting = len(self._queue)
        for _ in range(SETTLES_UNDER_LOAD):
            if not 0 < waiting < enough:
                return
            time.sleep(SETTLE_S)
            before, waiting = waiting, len(self._queue)
            if waiting - before < BUSY_MESSAGES:
                return

    def _taken(self, limit: int) -> Taken:
        taken = self._queue[:limit]
        self._queue = self._queue[limit:]
        self._bytes = self._bytes - sum(map(_bytes, taken)) if self._queue else 0
        self.room.notify_all()
        if self._queue:
            return Taken(taken, self._queue[0].inbound.arrival_us - 1, self.epoch)
        self._last_us = max(self._clock.now_us(), self._last_us)
        return Taken(taken, self._last_us, self.epoch)


def _bytes(delivery: Delivery) -> int:
    return len(delivery[0].payload) + OVERHEAD_BYTES
