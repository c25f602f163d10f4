"""Wakes a thread that waits in `select`."""

from __future__ import annotations

import socket
from contextlib import suppress


class Bell:
    """Wakes the loop's `select` from another thread."""

    def __init__(self) -> None:
        self.hears, self._rings = socket.socketpair()
        self.hears.setblocking(False)
        self._rings.setblocking(False)

    def ring(self, *_: object) -> None:
        # a full pipe rings already; a closed one has nobody to wake
        with suppress(OSError):
            self._rings.send(b"\0")

    def silence(self) -> None:
        with suppress(BlockingIOError):
            self.hears.recv(4_096)

    def close(self) -> None:
        self.hears.close()
        self._rings.close()
