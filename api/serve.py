"""The serve process: wires journal, history and case database into the API, and serves it."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import uvicorn
from fastapi import FastAPI
from fastapi.middleware.trustedhost import TrustedHostMiddleware

from api.app import close_live, create_app
from api.first_journal import first_journal
from api.parts import Parts
from api.respond import database_url
from api.rulebooks import kept, load
from api.service_clock import open_clock
from api.settings import Settings
from ingest.history import History
from ingest.segments import open_reader
from ingest.shelf import from_shelf
from ingest.site import read_registry
from ingest.status import write_status
from ingest.store import Store
from response.migrate import open_database
from rules.rule import Rule

STOP_S = 5


def open_history_store(settings: Settings) -> Store:
    """The store that the settings name. LookupError names the nearest valid word."""
    opener = cast(
        Callable[[Path], Store], from_shelf("ingest.stores", settings.store, "open_store")
    )
    return opener(settings.data_dir / "history")


def run_serve(settings: Settings, stop: threading.Event) -> None:
    """Until `stop`; waits for the journal, which watch makes."""
    reader = first_journal(settings, stop)
    if reader is None:
        return
    tail = open_reader(settings.data_dir / "journal")
    store = open_history_store(settings)
    cases = open_database(database_url(settings))
    try:
        parts = Parts(
            registry=read_registry(settings.site),
            rulebook_rules=rules_in_force(settings),
            reader=reader,
            history=History(store, tail),
            cases=cases,
            clock=open_clock(settings),
            data_dir=settings.data_dir,
            root_path=settings.http.root_path,
            demo=settings.demo,
        )
        app = create_app(parts)
        # a page elsewhere must not reach us under a name of its own that it points to loopback
        hosts = ["localhost", "127.0.0.1", "[::1]", *settings.http.hosts]
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
        asyncio.run(_serve(app, settings, stop))
    finally:
        cases.dispose()
        store.close()
        tail.close()
        reader.close()


def rules_in_force(settings: Settings) -> Sequence[Rule]:
    """The rules that watch keeps, or those of the settings."""
    rulebook = kept(settings.data_dir) or load(settings.rulebook)
    return rulebook.rules


class _Server(uvicorn.Server):
    """Leaves the signals to the process, whose handlers set its stop event."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(app: FastAPI, settings: Settings, stop: threading.Event) -> None:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
    )
    server = _Server(config)
    with _listening(settings.http.bind, settings.http.port) as listener:
        serving = asyncio.create_task(server.serve([listener]), name="serve.http")
        while not (stop.is_set() or serving.done()):
            write_status(settings.data_dir / "status", "serve", {"pid": os.getpid()})
            await asyncio.wait([serving], timeout=0.25)
        close_live(app)
        server.should_exit = True
        await serving


def _listening(bind: str, port: int) -> socket.socket:
    try:
        return socket.create_server((bind, port))
    except OSError as error:
        text = f"cannot listen on {bind}:{port}: {error.strerror}; set [http] port to a free one"
        raise OSError(text) from None
