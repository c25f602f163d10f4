"""How a process of the service learns that it shall stop: a signal, or its supervisor's end."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType


def stop_event(*, supervised: bool) -> threading.Event:
    """Set at SIGTERM and SIGINT; for a supervised process also when its stdin closes."""
    stop = threading.Event()

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    if supervised:
        threading.Thread(
            target=_until_end_of_input, args=(stop,), name="leash", daemon=True
        ).start()
    return stop


def _until_end_of_input(stop: threading.Event) -> None:
    # not through sys.stdin, whose lock a thread that sits in a read would hold at the very end
    while os.read(0, 4_096):
        pass
    stop.set()
