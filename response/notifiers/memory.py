"""Keeps notices in memory: for tests, and for replays that must tell nobody."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from response.notifier import Notice, NotifierConfig, NotifierError, OpenNotifier, Receipt

KEPT = 10_000


@dataclass(slots=True)
class MemoryNotifier:
    """`sent` holds the newest notices; a recipient in `refusals` gets that error instead."""

    sent: deque[Notice] = field(default_factory=lambda: deque(maxlen=KEPT))
    refusals: Mapping[str, NotifierError] = field(default_factory=dict)
    count: int = 0

    @property
    def name(self) -> str:
        return "memory"

    async def send(self, notice: Notice) -> Receipt:
        if refusal := self.refusals.get(notice.recipient):
            raise refusal
        self.sent.append(notice)
        self.count += 1
        return Receipt("delivered", provider_id=str(self.count))

    async def close(self) -> None:
        return None


def open_notifier(config: NotifierConfig) -> MemoryNotifier:
    return MemoryNotifier()


_: OpenNotifier = open_notifier
