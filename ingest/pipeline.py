"""Messages become batches: decoded, judged, given to the engine, committed, acknowledged."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b

from ingest import quarantine
from ingest.batch_bytes import SHA_BYTES
from ingest.changes import Change
from ingest.clock import US_PER_S, Clock
from ingest.counters import PipelineCounters
from ingest.deliveries import Delivery, Source, Taken
from ingest.dialect import Decoded, Descriptor, Dialect, Inbound, RefusedError
from ingest.gathering import Gathering
from ingest.inputs import Control, Inputs
from ingest.journal import Batch, JournalWriter, Print
from ingest.learned import Learned
from ingest.redelivery import MARKER_MID, Prints
from ingest.registry import Registry
from ingest.voices import Refusal, Voice, Voices

_log = logging.getLogger(__name__)

BATCH_READINGS = 5_000
BATCH_MESSAGES = 2_500
MESSAGE_BYTES = 256 * 1024
EVENT_BYTES = 1024 * 1024

COMMIT_EVERY_S = 1.0
"""A batch with nothing in it is committed so often, so that readers see that time passes."""

WAIT_LEAST_S, WAIT_MOST_S = 0.01, 1.0

# a named tuple's own __new__ is Python: this makes the same thing in half the time
_new = tuple.__new__

Step = Callable[[Inputs, int], tuple[Change, ...]]


def _no_controls() -> tuple[Control, ...]:
    return ()


def _nobody(_: Batch) -> None:
    pass


class Pipeline:
    """The worker. `step` is the engine; `controls` gives the control records that no batch has
    held yet (their arrival is stamped here); `committed` is told of every batch that is on disk."""

    def __init__(
        self,
        source: Source,
        journal: JournalWriter,
        registry: Registry,
        dialects: Sequence[Dialect],
        step: Step,
        clock: Clock,
        *,
        prints: Prints | None = None,
        controls: Callable[[], tuple[Control, ...]] = _no_controls,
        committed: Callable[[Batch], None] = _nobody,
    ) -> None:
        """`prints`: those that the journal remembers, so that a redelivered message is absorbed."""
        self.counters = PipelineCounters()
        self.descriptors: dict[str, Descriptor] = {}
        self._source = source
        self._journal = journal
        self._dialects = dialects
        self._voices = Voices(registry, dialects)
        self._learned = Learned.of(journal.table)
        self._learned.counted = self.counters.quarantined
        self._step = step
        self._clock = clock
        self._prints = Prints()
        if prints is not None:
            self._prints.add(prints.all())
        self._controls = controls
        self._committed = committed
        self._waiting_controls: list[Control] = []
        self._held: Taken | None = None
        self._series_upto = len(journal.table)
        self._second = 0
        self._committed_at = time.monotonic()

    @property
    def last(self) -> int:
        """The number of the newest committed batch."""
        return self._journal.last

    def use(self, registry: Registry) -> None:
        """From the next batch on; what decoders remembered of their senders begins anew."""
        self._voices = Voices(registry, self._dialects)

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. Whatever `step` or the journal raises ends it, and the connection
        to the broker at once: what is not committed is not acknowledged, and comes again."""
        while not stop.is_set():
            self.turn()

    def turn(self) -> Batch | None:
        """One round: the batch that was committed, or None if there was nothing to commit."""
        try:
            return self._turn()
        except BaseException:
            self._source.abort()
            raise

    def _turn(self) -> Batch | None:
        self._poll_controls()
        taken = self._held or self._source.take(BATCH_MESSAGES, self._patience_s())
        self._held = None
        gathering = Gathering(self._voices, self._learned)
        prints: list[Print] = []
        done = self._gather(taken.deliveries, gathering, prints)
        now_us = taken.now_us
        if done < len(taken.deliveries):
            self._held = taken._replace(deliveries=taken.deliveries[done:])
            now_us = self._held.deliveries[0].inbound.arrival_us - 1
        if taken.epoch > self._prints.epoch:
            # so that a restart knows of the new session even if it has brought no message yet
            prints.insert(0, Print(taken.epoch, MARKER_MID, b""))
            self._prints.add(prints)
        batch = self._judge(gathering, prints, now_us)
        if batch is not None:
            self._commit(batch)
        self._source.ack(taken.deliveries[:done])
        return batch

    def _judge(self, gathering: Gathering, prints: list[Print], now_us: int) -> Batch | None:
        """The next batch, or None if nothing of it needs to be kept."""
        inputs = gathering.inputs(self._due_controls(now_us), self._series_upto)
        something = bool(len(inputs) or inputs.new_series or prints or gathering.quarantined)
        second = now_us // US_PER_S
        if not something and second == self._second:
            return None
        changes = self._step(inputs, now_us)
        self._second = second
        idle_s = time.monotonic() - self._committed_at
        if not something and not changes and idle_s < COMMIT_EVERY_S:
            return None
        return Batch(
            self._journal.last + 1,
            now_us,
            inputs,
            changes,
            tuple(prints),
            tuple(sorted(gathering.quarantined, key=lambda row: row.arrival_us)),
        )

    def _commit(self, batch: Batch) -> None:
        self._journal.commit(batch)
        self._committed_at = time.monotonic()
        self._series_upto += len(batch.inputs.new_series)
        counters, inputs = self.counters, batch.inputs
        counters.batches += 1
        counters.readings += len(inputs.readings)
        counters.events += len(inputs.events)
        counters.presences += len(inputs.presences)
        counters.controls += len(inputs.controls)
        counters.changes += len(batch.changes)
        if len(inputs):
            counters.committed_us = self._clock.now_us()
        self._committed(batch)

    # one message

    def _gather(self, deliveries: list[Delivery], gathering: Gathering, prints: list[Print]) -> int:
        """How many messages the batch took in: it ends with the one that fills it."""
        known, note = self._prints, prints.append
        for row, (inbound, mid, _, epoch, refused) in enumerate(deliveries):
            sha = blake2b(
                inbound.topic.encode() + b"\0" + inbound.payload, digest_size=SHA_BYTES
            ).digest()
            if inbound.qos:
                if inbound.dup and known.knows(epoch, mid, sha):
                    self.counters.redelivered += 1
                    continue
                note(_new(Print, (epoch, mid, sha)))
                known.note(epoch, mid, sha)
            self._take_in(inbound, refused, sha, gathering)
            if len(gathering) >= BATCH_READINGS:
                self.counters.messages += row + 1
                return row + 1
        self.counters.messages += len(deliveries)
        return len(deliveries)

    def _take_in(self, inbound: Inbound, refused: str, sha: bytes, gathering: Gathering) -> None:
        if refused:
            gathering.refuse(inbound, "", refused, "the topic's bytes are not UTF-8 text")
            return
        voice = self._voices.of(inbound.topic)
        if isinstance(voice, Refusal):
            gathering.refuse(inbound, voice.principal, voice.reason, voice.detail)
            return
        size = len(inbound.payload)
        if size > MESSAGE_BYTES and size > (most := _most_bytes(inbound.topic)):
            detail = f"{size} bytes; at most {most} are read on this topic"
            gathering.refuse(inbound, voice.principal, quarantine.TOO_LARGE, detail)
            return
        decoded = self._decode(inbound, voice, gathering)
        if decoded is None:
            return
        if decoded.key is not None:
            if sha in voice.recent:
                self.counters.resent += 1
                return
            voice.recent.append(sha)
        gathering.add(inbound, voice, decoded)
        if decoded.descriptors:
            self._describe(voice, decoded)

    def _decode(self, inbound: Inbound, voice: Voice, gathering: Gathering) -> Decoded | None:
        try:
            decoded = voice.dialect.decode(inbound, voice.state)
        except RefusedError as error:
            gathering.refuse(inbound, voice.principal, quarantine.UNDECODABLE, str(error))
            return None
        except Exception as error:
            # a decoder may come from another package, and its fault must not stop all the others
            _log.exception("decoder fault dialect=%s topic=%s", voice.dialect.name, inbound.topic)
            detail = f"{voice.dialect.name} failed: {type(error).__name__}: {error}"
            gathering.refuse(inbound, voice.principal, quarantine.DECODER_FAULT, detail)
            return None
        if decoded.principal != voice.principal:
            detail = f"the message says {decoded.principal!r}, the topic {voice.principal!r}"
            gathering.refuse(inbound, voice.principal, quarantine.SPOOF_SUSPECT, detail)
            return None
        return decoded

    def _describe(self, voice: Voice, decoded: Decoded) -> None:
        for descriptor in decoded.descriptors:
            device = self._voices.registry.speaks_for(voice.principal, descriptor.device)
            if device is not None:
                self.descriptors[device.id] = descriptor
                self.counters.descriptors += 1

    # time and control records

    def _patience_s(self) -> float:
        """Until the next whole second of the service clock."""
        left_us = US_PER_S - self._clock.now_us() % US_PER_S
        return min(max(self._clock.wall_s(left_us / US_PER_S), WAIT_LEAST_S), WAIT_MOST_S)

    def _poll_controls(self) -> None:
        if not self._waiting_controls:
            self._waiting_controls = [
                replace(control, arrival_us=self._source.stamp()) for control in self._controls()
            ]

    def _due_controls(self, now_us: int) -> tuple[Control, ...]:
        """Those stamped up to `now_us`: a batch that leaves messages over ends before them."""
        due = tuple(c for c in self._waiting_controls if c.arrival_us <= now_us)
        self._waiting_controls = self._waiting_controls[len(due) :]
        return due


def _most_bytes(topic: str) -> int:
    return EVENT_BYTES if topic.endswith("/ev") else MESSAGE_BYTES
