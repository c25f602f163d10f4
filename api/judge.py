"""The engine with its state, as the pipeline's `step`; recovered at start, saved on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from api.checkpoints import CheckpointWriter, Saved, read_checkpoints, write_checkpoint
from ingest.changes import Change
from ingest.inputs import Inputs
from ingest.journal import JournalReader, JournalWriter, follow
from ingest.registry import Registry
from ingest.segments import AlertRow
from rules import checkpoint, engine
from rules.instances import extend
from rules.recovery import Difference, Recovered, reconcile, recover
from rules.rule import Rulebook
from rules.state import State

log = logging.getLogger(__name__)

CHECKPOINT_EVERY_S = 5.0
OPEN_ALERTS = 100_000


class Reader(JournalReader, Protocol):
    """A journal's reader with the table of alerts, which outlives its segments."""

    def alerts(self, limit: int, open_only: bool = False) -> Sequence[AlertRow]: ...


@dataclass(slots=True)
class Judge:
    """Called once a batch, in the pipeline's thread. A checkpoint is taken before a step, when the
    state is that of the newest committed batch."""

    state: State
    journal: JournalWriter
    checkpoints: CheckpointWriter
    differences: tuple[Difference, ...] = ()
    recovered: int = 0
    mended: int = 0
    lost_from: str = ""  # why the state could not be recovered from checkpoint and batches
    saved_s: float = field(default_factory=time.monotonic)
    step_s: float = 0.0

    def __call__(self, inputs: Inputs, now_us: int) -> tuple[Change, ...]:
        began_s = time.monotonic()
        if began_s - self.saved_s >= CHECKPOINT_EVERY_S:
            self.save()
        self.state, changes = engine.step(self.state, inputs, now_us)
        self.step_s += time.monotonic() - began_s
        return changes

    def save(self) -> None:
        """Offers the state as a checkpoint; it is written by another thread."""
        self.saved_s = time.monotonic()
        batch = self.journal.last
        self.checkpoints.offer(Saved(self.journal.id, batch, checkpoint.dump(self.state, batch)))


def recovered(
    journal: JournalWriter,
    reader: Reader,
    folder: Path,
    rulebook: Rulebook,
    registry: Registry,
    now_us: int,
) -> Judge:
    """The engine as it was after the newest batch. Where no checkpoint can be used, it begins
    anew, from the batches that are kept, and says so."""
    writer = CheckpointWriter(folder)
    done, lost_from = _from_checkpoint(journal, reader, folder, rulebook, registry), ""
    if done is None:
        state = engine.start(rulebook, registry, now_us)
        done = Recovered(state, 0, ())
        if journal.last:
            extend(state, journal.table.rows)
            lost_from = "no checkpoint could be used: the rules begin anew"
            log.error("recovery: %s", lost_from)
        write_checkpoint(folder, Saved(journal.id, journal.last, checkpoint.dump(state)))
    mended = reconcile(done.state, [row.change for row in reader.alerts(OPEN_ALERTS, True)])
    if done.differences:
        _dump(folder, done.differences)
    writer.newest = journal.last - done.batches
    return Judge(done.state, journal, writer, done.differences, done.batches, mended, lost_from)


def _from_checkpoint(
    journal: JournalWriter,
    reader: Reader,
    folder: Path,
    rulebook: Rulebook,
    registry: Registry,
) -> Recovered | None:
    for saved in read_checkpoints(folder, journal.id, journal.last):
        try:
            label = checkpoint.label(saved.state)
            state = checkpoint.load(saved.state, rulebook, registry)
            compare = (label.engine, label.rulebook_sha256, label.registry) == (
                engine.VERSION,
                rulebook.sha256,
                registry.version,
            )
            done = recover(state, follow(reader, saved.batch), compare=compare)
        except (checkpoint.CheckpointError, LookupError) as error:
            log.warning("checkpoint batch=%d not usable: %s", saved.batch, error)
            continue
        log.info(
            "recovered from batch=%d batches=%d differences=%d",
            saved.batch, done.batches, len(done.differences),
        )  # fmt: skip
        return done
    return None


def _dump(folder: Path, differences: Sequence[Difference]) -> None:
    """For whoever looks into it: recorded and recomputed changes, a batch a line."""
    file = folder / f"differences-{time.time_ns() // 1_000_000}.ndjson"
    file.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in differences))
    log.error("recovery: recomputed changes differ from the recorded ones, see %s", file)
