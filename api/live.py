"""Server-sent events: each one encoded once, then handed to every client's bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from api.follower import NEVER_US, Step, View
from api.parts import Reader
from api.views import age_s, alert_event, value_columns
from ingest.clock import Clock
from ingest.journal import Batch, JournalError
from ingest.registry import Registry

TOPICS = ("alerts", "latest", "tick")
CLIENTS = 500
QUEUE = 256
KEEP_ALIVE_S = 15.0
LATEST_EVERY_S = 1.0
TICK_EVERY_S = 5.0
RESUME_BATCHES = 2_000
"""A client that missed more batches than this starts over instead."""

RESYNC = b"event: resync\ndata: {}\n\n"
"""Something was dropped: what a client shows is to be fetched anew."""

KEEP_ALIVE = b": still here\n\n"


class CrowdedError(Exception):
    """No more live clients are taken."""


@dataclass(eq=False, slots=True)
class Client:
    """One open stream: what it wants to hear, and what it was not sent yet."""

    topics: frozenset[str]
    queue: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(QUEUE))

    def put(self, event: bytes) -> None:
        """A client that does not keep up loses its queue and is told to start over."""
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            event = RESYNC
        self.queue.put_nowait(event)


class Hub:
    """All open streams of this process. Used from the event loop only."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()

    def join(self, topics: frozenset[str]) -> Client:
        if len(self.clients) >= CLIENTS:
            raise CrowdedError(f"{CLIENTS} live streams are open, which is the most we serve")
        client = Client(topics)
        self.clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        self.clients.discard(client)

    def tell(self, topic: str, event: bytes) -> None:
        for client in self.clients:
            if topic in client.topics:
                client.put(event)

    def resync(self) -> None:
        for client in self.clients:
            client.put(RESYNC)

    def close(self) -> None:
        """Ends every stream, so that a server can stop without waiting for its clients."""
        for client in self.clients:
            while not client.queue.empty():
                client.queue.get_nowait()
            client.queue.put_nowait(None)


class Teller:
    """Turns what the follower found into events: alerts at once, values once a second.

    The id of an event is the batch up to which *everything* was told, so that a client which
    resumes from it may hear something twice and misses nothing.
    """

    def __init__(self, hub: Hub, registry: Registry, clock: Clock) -> None:
        self._hub = hub
        self._registry = registry
        self._clock = clock
        self._touched: set[int] = set()
        self._told = 0
        self._latest_s = 0.0
        self._tick_s = 0.0

    def __call__(self, step: Step) -> None:
        """Called by the follower in the event loop, some ten times a second."""
        now_s = asyncio.get_running_loop().time()
        self._told = self._told or step.before
        for number, change in step.changes:
            body = alert_event(self._registry, change, number)
            self._hub.tell("alerts", encode("alert", body, self._told))
        self._touched |= step.touched
        self._tell_latest(step.view, now_s)
        if now_s - self._tick_s >= TICK_EVERY_S:
            self._tick_s = now_s
            self._hub.tell("tick", encode_tick(step.view, self._clock, self._told))

    def _tell_latest(self, view: View, now_s: float) -> None:
        if self._touched and now_s - self._latest_s < LATEST_EVERY_S:
            return
        if self._touched:
            self._latest_s = now_s
            self._hub.tell("latest", encode_latest(view, sorted(self._touched)))
            self._touched.clear()
        self._told = view.batch


def encode(event: str, body: Mapping[str, Any], number: int | None = None) -> bytes:
    """One event as it goes over the wire; `number` is the batch from which a client resumes."""
    head = f"event: {event}\n" + (f"id: {number}\n" if number is not None else "")
    return head.encode() + b"data: " + orjson.dumps(body) + b"\n\n"


def encode_tick(view: View, clock: Clock, number: int | None = None) -> bytes:
    """How old the newest reading is, in seconds of wall time; null if there was none."""
    body = {"batch": view.batch, "age_s": age_s(view, clock)}
    return encode("tick", body, number)


def encode_latest(view: View, rows: Sequence[int]) -> bytes:
    picked = view.latest.take(np.asarray(rows, np.intp))
    return encode("latest", value_columns([view.series[k] for k in rows], picked), view.batch)


def missed(batches: Sequence[Batch], view: View, registry: Registry) -> list[tuple[str, bytes]]:
    """(topic, event) for a client that has seen everything before `batches`."""
    events = [
        ("alerts", encode("alert", alert_event(registry, change, batch.number), batch.number))
        for batch in batches
        for change in batch.changes
    ]
    rows = {int(k) for b in batches for k in np.unique(b.inputs.readings.series)}
    known = sorted(k for k in rows if k < len(view.latest) and view.latest.time_us[k] != NEVER_US)
    if known:
        events.append(("latest", encode_latest(view, known)))
    return events


def read_missed(reader: Reader, after: int, upto: int) -> Sequence[Batch] | None:
    """The batches in (after, upto], None if that is too many or they are no longer kept."""
    if after < 0 or after > upto or upto - after > RESUME_BATCHES:
        return None
    try:
        return [b for b in reader.read(after, RESUME_BATCHES) if b.number <= upto]
    except (LookupError, JournalError):
        return None


async def stream(hub: Hub, client: Client, first: Sequence[bytes]) -> AsyncIterator[bytes]:
    """What `first` holds, then the client's queue until it is closed or the client leaves."""
    try:
        yield b"retry: 3000\n\n" + b"".join(first)
        while True:
            try:
                event = await asyncio.wait_for(client.queue.get(), KEEP_ALIVE_S)
            except TimeoutError:
                event = KEEP_ALIVE
            if event is None:
                return
            yield event
    finally:
        hub.leave(client)
