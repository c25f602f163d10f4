"""The respond process: wires the journal, the case database and the notifiers."""

from __future__ import annotations

import asyncio
import sys
import threading

from api.first_journal import first_journal
from api.service_clock import open_clock
from api.settings import Settings
from api.settings import Subscriber as Asked
from ingest.cursors import write_cursor
from ingest.segments import open_reader
from ingest.site import read_registry
from ingest.status import write_status
from response import respond
from response.migrate import open_database
from response.notifier import Notifier, NotifierConfig, open_notifier
from response.outbox import Public
from response.subscribers import Subscriber

JOURNAL_PATIENCE_S = 15.0


def database_url(settings: Settings) -> str:
    """The case database: SQLite in the data folder."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{settings.data_dir / 'cases.db'}"


def subscribers(settings: Settings) -> tuple[Subscriber, ...]:
    return tuple(map(_subscriber, settings.subscribers))


def _subscriber(asked: Asked) -> Subscriber:
    return Subscriber(
        asked.name,
        asked.notifier,
        asked.address,
        asked.language,
        asked.min_severity,
        asked.buildings,
    )


def notifiers(settings: Settings) -> dict[str, Notifier]:
    """The ways of telling that the subscribers use. ValueError, LookupError: a wrong setting."""
    email = settings.email
    config = NotifierConfig(
        url=email.url,
        password=email.password.get_secret_value() if email.password else "",
        sender=email.sender,
        timeout_s=email.timeout_s,
        stream=sys.stdout,
    )
    words = sorted({subscriber.notifier for subscriber in settings.subscribers})
    return {word: open_notifier(word, config) for word in words}


def run_respond(settings: Settings, stop: threading.Event) -> None:
    """Until `stop`."""
    asyncio.run(_run(settings, stop))


async def _run(settings: Settings, stop: threading.Event) -> None:
    told = notifiers(settings)
    journal = await asyncio.to_thread(first_journal, settings, stop, JOURNAL_PATIENCE_S)
    if journal is not None:
        journal.close()
    engine = open_database(database_url(settings))
    parts = respond.Parts(
        engine=engine,
        open_journal=lambda: open_reader(settings.data_dir / "journal"),
        public=Public(subscribers(settings), read_registry(settings.site)),
        notifiers=told,
        clock=open_clock(settings),
    )
    stopping = asyncio.Event()
    waiting = asyncio.create_task(_pass_on(stop, stopping), name="respond.stop")
    try:
        await respond.run(
            parts,
            stopping,
            lambda status: write_status(settings.data_dir / "status", "respond", status),
            lambda cursor: write_cursor(settings.data_dir / "cursors", "respond", cursor),
        )
    finally:
        stop.set()
        await waiting
        for notifier in told.values():
            await notifier.close()
        engine.dispose()


async def _pass_on(stop: threading.Event, stopping: asyncio.Event) -> None:
    await asyncio.to_thread(stop.wait)
    stopping.set()
