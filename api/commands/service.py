"""`courtyard run`, and its three processes one by one."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from pydantic import ValidationError

from api.respond import notifiers
from api.rulebooks import load
from api.service_clock import open_clock
from api.settings import Settings, read_settings
from api.shutdown import stop_event
from api.supervisor import PROCESSES, Supervisor, child
from ingest.site import read_registry


class ConfigError(ValueError):
    """A settings file that cannot be used: what is wrong, and where."""


def settings_of(file: Path) -> Settings:
    """Raises ConfigError that names the file and every wrong setting."""
    try:
        return read_settings(file)
    except ValidationError as error:
        lines = [
            f"{file}: {'.'.join(map(str, entry['loc'])) or 'settings'}: {entry['msg']}"
            for entry in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from None
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None


def run(file: Path) -> None:
    """All three processes under one supervisor. What is wrong with the configuration, the site or
    the rulebook is told before any of them starts."""
    settings = settings_of(file)
    log_to_stderr("run")
    read_registry(settings.site)
    load(settings.rulebook)
    notifiers(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    open_clock(settings)  # one clock for all three
    Supervisor([child(name, "--config", str(file)) for name in PROCESSES]).run()


def run_process(name: str, file: Path, *, supervised: bool) -> None:
    """One of the three, until a signal."""
    settings = settings_of(file)
    log_to_stderr(name)
    stop = stop_event(supervised=supervised)
    if name == "watch":
        from api.watch import run_watch

        run_watch(settings, stop, supervised=supervised)
    elif name == "respond":
        from api.respond import run_respond

        run_respond(settings, stop)
    else:
        from api.serve import run_serve

        run_serve(settings, stop)


def log_to_stderr(name: str) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format=f"%(asctime)s {name} %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
