"""What the API is made of: the ports that it reads, given to it by the composition root."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine

from ingest.changes import Change
from ingest.clock import Clock
from ingest.journal import JournalReader
from ingest.readings import Readings
from ingest.registry import Registry
from ingest.store import Buckets
from rules.rule import Rule


class AlertRow(Protocol):
    """The newest change of an alert, and when it ended."""

    @property
    def change(self) -> Change: ...

    @property
    def resolved_us(self) -> int | None: ...


class Reader(JournalReader, Protocol):
    """A journal's reader with the two tables that outlive its segments."""

    def alerts(self, limit: int, open_only: bool = False) -> Sequence[AlertRow]:
        """The newest alerts, newest first."""
        ...

    def latest(self) -> tuple[int, Readings]:
        """A batch number, and the newest fresh reading of each series as of that batch."""
        ...


class History(Protocol):
    """Readings of one series, from the store and the journal's tail."""

    def read(
        self, site: str, device: str, channel: str, metric: str, since_us: int, until_us: int
    ) -> Readings: ...

    def buckets(
        self,
        site: str,
        device: str,
        channel: str,
        metric: str,
        since_us: int,
        until_us: int,
        step_us: int,
    ) -> Buckets: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """`data_dir` is where the processes leave their status files. `root_path` is the prefix under
    which a proxy serves us ("" or "/courtyard")."""

    registry: Registry
    rulebook_rules: Sequence[Rule]
    reader: Reader
    history: History
    cases: Engine
    clock: Clock
    data_dir: Path
    root_path: str = ""
    demo: bool = False
