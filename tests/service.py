"""A Courtyard in a folder of its own, as real processes: for the kill test, the end to end and the
benchmarks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ingest.journal import JournalReader
from ingest.segments import open_reader
from ingest.status import read_status

T = TypeVar("T")


def wait_for(ask: Callable[[], T | None], what: str, seconds: float = 60.0) -> T:
    """The first answer that is neither None nor False."""
    end = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def meters_site(count: int) -> str:
    """A site of `count` circuit meters m0, m1, …, each its own principal."""
    lines = ["site: {id: bench, name: {zh: 试验, en: Bench}}", "devices:"]
    lines += [f"  - {{id: m{n}, type: circuit_meter}}" for n in range(count)]
    return "\n".join(lines) + "\n"


@dataclass
class Courtyard:
    """`config` is TOML beyond the paths and the broker's URL."""

    folder: Path
    broker_url: str
    site: str
    rulebook: str | None = None
    config: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "site.yaml").write_text(self.site, encoding="utf-8")
        head = 'data_dir = "data"\nsite = "site.yaml"\n'
        if self.rulebook is not None:
            (self.folder / "rulebook.yaml").write_text(self.rulebook, encoding="utf-8")
            head += 'rulebook = "rulebook.yaml"\n'
        mqtt = "" if "[mqtt]" in self.config else f'[mqtt]\nurl = "{self.broker_url}"\n'
        self.file.write_text(f"{head}{mqtt}{self.config}", encoding="utf-8")

    @property
    def file(self) -> Path:
        return self.folder / "courtyard.toml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts `courtyard COMMAND --config …`; what it prints goes to `COMMAND.log`."""
        line = [sys.executable, "-m", "api", command, "--config", str(self.file), *arguments]
        with (self.folder / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(line, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def log(self, command: str) -> str:
        return (self.folder / f"{command}.log").read_text(encoding="utf-8")

    def watching(self) -> subprocess.Popen[bytes]:
        """A watch that is connected to the broker and subscribed."""
        began_ns = time.time_ns()
        process = self.start("watch")

        def connected() -> bool:
            assert process.poll() is None, self.log("watch")
            file = self.data / "status" / "watch.json"
            fresh = file.exists() and file.stat().st_mtime_ns > began_ns
            return fresh and bool(
                (read_status(self.data / "status", "watch") or {}).get("connected")
            )

        wait_for(connected, "watch connects")
        return process

    def reader(self) -> JournalReader:
        return open_reader(self.data / "journal")

    def __enter__(self) -> Courtyard:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            if process.poll() is None:
                process.kill()
                process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def run_courtyard(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The command as a user runs it, to its end."""
    line: Sequence[str] = [sys.executable, "-m", "api", *arguments]
    return subprocess.run(line, input=stdin, capture_output=True, check=False, timeout=300)
