"""`courtyard rules`: a rulebook checked, its schema, and the engine over what was recorded."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from rich.console import Console

from api.commands.service import settings_of
from api.rulebooks import load
from ingest.clock import format_us, parse_us
from ingest.history import History
from ingest.registry import Registry
from ingest.segments import open_reader
from ingest.site import read_registry
from ingest.stores.embedded import open_store
from rules.check import check as checked
from rules.long_table import read_long
from rules.replay import Slice, episode_line, stored
from rules.replay import replay as replayed
from rules.schema import rulebook_schema


def check(file: Path) -> int:
    """Prints the problems, or a summary; the exit code."""
    code, lines = checked(file)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return code


def schema() -> str:
    return json.dumps(rulebook_schema(), ensure_ascii=False, indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """What `rules replay` was asked for; either `readings`, or history of `folder` or `config`."""

    rulebook: Path | None = None
    readings: Path | None = None
    since: str | None = None
    until: str | None = None
    registry: Path | None = None
    config: Path | None = None
    folder: Path | None = None
    batch: int = 5_000
    out: Path | None = None


def replay(asked: Asked) -> None:
    """Writes one line an episode. ValueError: options that do not go together."""
    rulebook = load(asked.rulebook)
    with _source(asked) as (slices, registry, types), _out(asked.out) as out:
        said = _Progress()
        for episode in replayed(
            rulebook, registry, slices, types=types, batch=asked.batch, progress=said
        ):
            out.write(episode_line(episode) + "\n")
        said.end()


@dataclass
class _Progress:
    """One line on a terminal, rewritten; nothing where nobody looks."""

    console: Console = field(default_factory=lambda: Console(stderr=True))
    rows: int = 0

    def __call__(self, rows: int, newest_us: int) -> None:
        self.rows = rows
        if self.console.is_terminal:
            self.console.print(f"{rows:,} readings, {format_us(newest_us)[:16]}", end="\r")

    def end(self) -> None:
        if self.console.is_terminal:
            self.console.print(f"{self.rows:,} readings replayed".ljust(50))


Source = tuple[Iterable[Slice], Registry | None, Mapping[str, str]]


@contextmanager
def _source(asked: Asked) -> Iterator[Source]:
    registry = None if asked.registry is None else read_registry(asked.registry)
    if asked.readings is not None:
        if asked.since or asked.until or asked.folder or asked.config:
            raise ValueError("--readings FILE, or --from and --to of stored history: not both")
        table = read_long(asked.readings, registry.site if registry else "")
        yield table.slices(), registry, table.types
        return
    if not (asked.since and asked.until):
        raise ValueError("replay what? --readings FILE, or --from T --to T with --config FILE")
    data, registry = _stored_in(asked, registry)
    store, reader = open_store(data / "history"), open_reader(data / "journal")
    try:
        history = History(store, reader)
        yield stored(history, parse_us(asked.since), parse_us(asked.until)), registry, {}
    finally:
        reader.close()
        store.close()


def _stored_in(asked: Asked, registry: Registry | None) -> tuple[Path, Registry]:
    """The data folder, and the registry that knows its devices."""
    if asked.config is not None:
        settings = settings_of(asked.config)
        return settings.data_dir, registry or read_registry(settings.site)
    if asked.folder is None or registry is None:
        raise ValueError("stored history needs --config FILE, or --dir D and --registry FILE")
    return asked.folder, registry


@contextmanager
def _out(file: Path | None) -> Iterator[TextIO]:
    if file is None:
        yield sys.stdout
        return
    with file.open("w", encoding="utf-8") as stream:
        yield stream
