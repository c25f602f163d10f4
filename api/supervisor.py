"""Starts the processes of the service, and starts again what dies, with back-off."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

log = logging.getLogger(__name__)

PROCESSES = ("watch", "respond", "serve")
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
SETTLED_S = 60.0  # after so long the next death is a new one, not the same again
STOP_S = 20.0


@dataclass(slots=True)
class Child:
    """One process and its history of deaths. A supervised child stops when its stdin closes, so
    that none outlives a supervisor that was killed."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    due_s: float = 0.0
    deaths: int = 0

    def start(self, now_s: float) -> None:
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE)
        self.started_s = now_s

    def look(self, now_s: float) -> None:
        """Starts the child when it is due; notes its death and when to start it again."""
        if self.process is None:
            if now_s >= self.due_s:
                self.start(now_s)
            return
        code = self.process.poll()
        if code is None:
            return
        self._close_pipe()
        self.process = None
        self.deaths += 1
        settled = now_s - self.started_s >= SETTLED_S
        self.pause_s = FIRST_PAUSE_S if settled else min(self.pause_s * 2, LONGEST_PAUSE_S)
        self.due_s = now_s + self.pause_s
        log.warning("process=%s died code=%s restart_in_s=%.1f", self.name, code, self.pause_s)

    def ask_to_stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self._close_pipe()

    def wait(self, seconds: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            log.warning("process=%s did not stop in time, killed", self.name)
            self.process.kill()
            self.process.wait()

    def _close_pipe(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()


@dataclass(slots=True)
class Supervisor:
    """Runs until it is asked to stop. `each_look` is called about four times a second."""

    children: list[Child]
    each_look: Callable[[], None] = lambda: None
    stopping: bool = field(default=False)

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        self.stopping = True

    def run(self) -> None:
        """Returns when every child has stopped."""
        signal.signal(signal.SIGINT, self.stop)
        signal.signal(signal.SIGTERM, self.stop)
        try:
            while not self.stopping:
                now_s = time.monotonic()
                for child in self.children:
                    child.look(now_s)
                self.each_look()
                time.sleep(0.25)
        finally:
            self._end()

    def _end(self) -> None:
        """The last started first: nobody is left talking to somebody who is gone."""
        deadline_s = time.monotonic() + STOP_S
        for child in reversed(self.children):
            child.ask_to_stop()
            child.wait(max(0.1, deadline_s - time.monotonic()))


def child(name: str, *arguments: str) -> Child:
    """A process of this program: `courtyard NAME … --supervised`, by this same interpreter."""
    return Child(name, [sys.executable, "-m", "api", name, *arguments, "--supervised"])
