"""The supervisor: what dies is started again, the rest goes on, and nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from api.supervisor import FIRST_PAUSE_S, LONGEST_PAUSE_S, SETTLED_S, Child

LEASHED = "import sys; sys.stdin.buffer.read()"


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def test_a_dead_child_is_started_again_after_a_growing_pause() -> None:
    child = Child("short", [sys.executable, "-c", "raise SystemExit(3)"])
    pauses = []
    now_s = 0.0
    for _ in range(8):
        child.look(now_s)
        process = child.process
        assert process is not None
        process.wait()
        child.look(now_s + 1)
        assert child.process is None
        pauses.append(child.pause_s)
        now_s = child.due_s
    assert pauses[0] == FIRST_PAUSE_S * 2
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S
    assert child.deaths == 8


def test_a_child_that_lived_long_is_started_again_at_once() -> None:
    child = Child("long", [sys.executable, "-c", ""], pause_s=LONGEST_PAUSE_S)
    child.look(0.0)
    assert child.process is not None
    child.process.wait()
    child.look(SETTLED_S + 1)
    assert child.pause_s == FIRST_PAUSE_S


def test_a_child_ends_when_it_is_asked() -> None:
    child = Child("leashed", [sys.executable, "-c", LEASHED])
    child.look(0.0)
    assert child.process is not None
    child.ask_to_stop()
    child.wait(20)
    assert child.process.poll() is not None


def test_no_child_outlives_a_supervisor_that_was_killed() -> None:
    program = (
        "import sys; from api.supervisor import Child, Supervisor;"
        f"c = Child('leashed', [sys.executable, '-c', {LEASHED!r}]); c.look(0.0);"
        "print(c.process.pid, flush=True); Supervisor([c]).run()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        assert not gone(pid)
        os.kill(supervisor.pid, signal.SIGKILL)
        until(lambda: gone(pid))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_supervisor_and_children(number: signal.Signals) -> None:
    program = (
        "import sys; from api.supervisor import Child, Supervisor;"
        f"c = Child('leashed', [sys.executable, '-c', {LEASHED!r}]);"
        "s = Supervisor([c], lambda: c.process and print(c.process.pid, flush=True)); s.run()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        drained = threading.Thread(target=supervisor.stdout.read)
        drained.start()
        supervisor.send_signal(number)
        assert supervisor.wait(30) == 0
        drained.join()
        assert gone(pid)
