"""The engine with its state, as the pipeline's `step`; recovered at start, saved on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from api.checkpoints import CheckpointWriter, Saved, read_checkpoints, write_checkpoint
from ingest.changes import Change
from ingest.inputs import Inputs
from ingest.journal import JournalReader, JournalWriter, follow
from ingest.registry import Registry
from rules import checkpoint, engine
from rules.instances import extend
from rules.recovery import Difference, Recovered, recover
from rules.rule import Rulebook
from rules.state import State

log = logging.getLogger(__name__)

CHECKPOINT_EVERY_S = 5.0


@dataclass(slots=True)
class Judge:
    """Called once a batch, in the pipeline's thread. A checkpoint is taken before a step, when the
    state is that of the newest committed batch."""

    state: State
    journal: JournalWriter
    checkpoints: CheckpointWriter
    differing: int = 0
    recovered: int = 0
    begun_anew: bool = False
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
    reader: JournalReader,
    folder: Path,
    rulebook: Callable[[], Rulebook],
    registry: Registry,
    now_us: int,
) -> Judge:
    """The engine as it was after the newest batch, under the rulebook that was in force. Where no
    checkpoint can be used it begins anew with `rulebook()`, and says so."""
    done, newest = _from_checkpoint(journal, reader, folder, registry)
    if done is not None:
        if done.differences:
            _dump(folder, done.differences)
        writer = CheckpointWriter(folder, newest)
        return Judge(done.state, journal, writer, done.differing, journal.last - newest)
    state = engine.start(rulebook(), registry, now_us)
    extend(state, journal.table.rows)
    write_checkpoint(folder, Saved(journal.id, journal.last, checkpoint.dump(state, journal.last)))
    judge = Judge(state, journal, CheckpointWriter(folder, journal.last))
    if journal.last:
        judge.begun_anew = True
        log.error("recovery: no checkpoint can be used, the rules begin anew")
    return judge


def _from_checkpoint(
    journal: JournalWriter, reader: JournalReader, folder: Path, registry: Registry
) -> tuple[Recovered | None, int]:
    for saved in read_checkpoints(folder, journal.id, journal.last):
        try:
            done = recover(saved.state, follow(reader, saved.batch), registry)
        except (checkpoint.CheckpointError, LookupError) as error:
            log.warning("checkpoint batch=%d not usable: %s", saved.batch, error)
            continue
        log.info("recovered batch=%d to=%d differing=%d", saved.batch, done.batch, done.differing)
        return done, saved.batch
    return None, 0


def _dump(folder: Path, differences: Sequence[Difference]) -> None:
    """For whoever looks into it: recorded and recomputed changes, a batch a line."""
    file = folder / f"differences-{time.time_ns() // 1_000_000}.ndjson"
    file.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in differences))
    log.error("recovery: recomputed changes differ from the recorded ones, see %s", file)
