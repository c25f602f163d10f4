"""The respond process: follows the journal, sends what is due, says how it is doing."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ingest.clock import US_PER_S, Clock
from ingest.inputs import Json
from ingest.journal import JournalError
from ingest.store import Cursor
from response.dispatch import Delivery, Dispatcher, wait_first
from response.follow import Follower, Journal
from response.notices import counts, prune
from response.notifier import Notifier
from response.outbox import Public

_log = logging.getLogger(__name__)

POLL_S = 0.2
ERROR_POLL_S = 1.0
STATUS_S = 1.0
KEEP_S = 400 * 86_400  # a year's notices, and the month in which the year's report is written
PRUNE_EVERY_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What respond works with. `open_journal` raises JournalError while there is none yet."""

    engine: Engine
    open_journal: Callable[[], Journal]
    public: Public
    notifiers: Mapping[str, Notifier]
    clock: Clock
    delivery: Delivery = field(default_factory=Delivery)


@dataclass(slots=True)
class _News:
    """What the tasks tell the status."""

    journal: str = ""
    batch: int = 0
    last: int = 0
    error: str = ""
    rebuilt: str = ""
    wake: asyncio.Event = field(default_factory=asyncio.Event)


async def run(
    parts: Parts,
    stop: asyncio.Event,
    status: Callable[[Mapping[str, Json]], None],
    publish: Callable[[Cursor], None],
) -> None:
    """Until `stop`. `status` gets a mapping once a second; `publish` each cursor that is on disk.
    While the journal cannot be read, what is in the outbox still goes out."""
    news = _News()
    dispatcher = Dispatcher(
        parts.engine,
        parts.clock,
        parts.notifiers,
        by=f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}",
        zone=parts.public.registry.time_zone,
        policy=parts.delivery,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(_follow(parts, news, stop, publish), name="respond.follow")
        group.create_task(dispatcher.run(stop, news.wake), name="respond.dispatch")
        group.create_task(_report(parts, news, stop, status), name="respond.status")
        group.create_task(_prune(parts, stop), name="respond.prune")


async def _follow(
    parts: Parts, news: _News, stop: asyncio.Event, publish: Callable[[Cursor], None]
) -> None:
    loop = asyncio.get_running_loop()
    follower: Follower | None = None
    with ThreadPoolExecutor(1, "follow") as thread:
        try:
            while not stop.is_set():
                pause_s = POLL_S
                try:
                    if follower is None:
                        follower = await loop.run_in_executor(thread, _open, parts, publish)
                    more = await loop.run_in_executor(thread, follower.step)
                    last = await loop.run_in_executor(thread, follower.journal.last)
                    _take_news(news, follower, last)
                    pause_s = 0.0 if more else POLL_S
                except (JournalError, DBAPIError, OSError) as error:
                    pause_s = ERROR_POLL_S
                    _say_error(news, error)
                except Exception as error:
                    # a mistake of ours must not keep back what is in the outbox already
                    pause_s = ERROR_POLL_S
                    _say_error(news, error, exc_info=True)
                await wait_first(pause_s, stop)
        finally:
            if follower is not None:
                follower.journal.close()


def _open(parts: Parts, publish: Callable[[Cursor], None]) -> Follower:
    journal = parts.open_journal()
    return Follower(parts.engine, journal, parts.public, parts.clock.now_us, publish)


def _take_news(news: _News, follower: Follower, last: int) -> None:
    if follower.rebuilt != news.rebuilt:
        _log.error("respond %s", follower.rebuilt)
    if follower.cursor is not None:
        news.journal, news.batch = follower.cursor.journal, follower.cursor.batch
    news.last, news.error, news.rebuilt = last, "", follower.rebuilt
    if follower.take_told():
        news.wake.set()


def _say_error(news: _News, error: Exception, *, exc_info: bool = False) -> None:
    said = str(error).split("\n")[0] or type(error).__name__
    if said != news.error:
        _log.error("respond cannot follow the journal error=%s", said, exc_info=exc_info)
    news.error = said


async def _report(
    parts: Parts,
    news: _News,
    stop: asyncio.Event,
    status: Callable[[Mapping[str, Json]], None],
) -> None:
    while not stop.is_set():
        found = await asyncio.to_thread(counts, parts.engine, parts.clock.now_us())
        told: dict[str, Json] = {
            "journal": news.journal,
            "batch": news.batch,
            "behind": max(0, news.last - news.batch),
            "error": news.error,
            "rebuilt": news.rebuilt,
            **asdict(found),
        }
        await asyncio.to_thread(status, told)
        await wait_first(STATUS_S, stop)


async def _prune(parts: Parts, stop: asyncio.Event) -> None:
    while not stop.is_set():
        before_us = parts.clock.now_us() - KEEP_S * US_PER_S
        while await asyncio.to_thread(prune, parts.engine, before_us) and not stop.is_set():
            pass
        await wait_first(PRUNE_EVERY_S, stop)
