"""By which a message that the broker delivers again is known again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ingest.journal import Print

MARKER_MID = 0
"""No message has it: a print with it only says that the epoch has begun."""


@dataclass(slots=True)
class Prints:
    """The newest print of each message id in the newest epoch: at most 65,535 of them. An epoch is
    the life of one session at the broker, in which a message id names one message at a time."""

    epoch: int = 0
    shas: dict[int, bytes] = field(default_factory=dict)

    def add(self, prints: Iterable[Print]) -> None:
        """In the order of the batches; prints of an older epoch are of no use any more."""
        for epoch, mid, sha in prints:
            self.note(epoch, mid, sha)

    def note(self, epoch: int, mid: int, sha: bytes) -> None:
        if epoch > self.epoch:
            self.epoch = epoch
            self.shas = {}
        if epoch == self.epoch and mid != MARKER_MID:
            self.shas[mid] = sha

    def knows(self, epoch: int, mid: int, sha: bytes) -> bool:
        return epoch == self.epoch and self.shas.get(mid) == sha

    def all(self) -> tuple[Print, ...]:
        """Everything that is remembered, the epoch's marker first."""
        marker = Print(self.epoch, MARKER_MID, b"")
        return (marker, *(Print(self.epoch, mid, sha) for mid, sha in self.shas.items()))
