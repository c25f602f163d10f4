"""PORT: the durable log. A batch is in it whole or not at all, and is the truth once it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ingest.changes import Change
from ingest.inputs import Inputs
from ingest.readings import SeriesTable


class Print(NamedTuple):
    """By which a redelivered message is known again."""

    epoch: int
    mid: int
    sha: bytes  # 16 bytes over topic and payload


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Input that was not let in, kept where a person can see it."""

    arrival_us: int
    topic: str
    principal: str
    reason: str
    detail: str
    payload: bytes  # its first 4 KiB
    size: int


@dataclass(frozen=True, slots=True)
class Batch:
    """`number` counts from 1 without a gap. `now_us`: the service clock the engine stepped to."""

    number: int
    now_us: int
    inputs: Inputs
    changes: tuple[Change, ...] = ()
    prints: tuple[Print, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()


class JournalError(Exception):
    """The log could not be written or read; `permanent` if trying again cannot help."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class JournalWriter(Protocol):
    """Held by watch alone."""

    id: str
    table: SeriesTable
    last: int

    def commit(self, batch: Batch) -> None:
        """Returns when the batch is on disk; raises JournalError with nothing of it written."""
        ...

    def release(self, upto: int) -> None:
        """Segments whose every batch is <= `upto`, and that are old enough, may be unlinked."""
        ...

    def close(self) -> None: ...


class JournalReader(Protocol):
    """Held by anyone, in any process; sees what is committed."""

    id: str

    def last(self) -> int:
        """The newest batch number, 0 for an empty journal."""
        ...

    def table(self) -> SeriesTable: ...

    def read(self, after: int, limit: int = 1_000) -> Sequence[Batch]:
        """The batches after number `after`, oldest first. LookupError: they are no longer kept."""
        ...

    def quarantined(
        self, limit: int, before: int | None = None
    ) -> Sequence[tuple[int, Quarantined]]:
        """The newest quarantined messages with their numbers, newest first."""
        ...

    def close(self) -> None: ...


def follow(reader: JournalReader, after: int) -> Iterator[Batch]:
    """All committed batches after `after`, until there are no more."""
    while batches := reader.read(after):
        yield from batches
        after = batches[-1].number
