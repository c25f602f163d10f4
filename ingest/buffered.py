"""A socket for paho that reads and writes in large pieces, and gives us the messages in them.

paho's own reading makes four system calls a message; a burst read at once costs a fifth of the CPU
time (measured, docs/decisions/0005). paho reads and writes everything else.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from contextlib import suppress
from typing import Any

from paho.mqtt.client import Client

from ingest.packets import Publish, packet_end, publishes

READ_BYTES = 256 * 1024
WRITE_BYTES = 64 * 1024


class BufferedSocket:
    """Everything but `recv` and `send` is the socket's own. Used by one thread, but for `later`."""

    def __init__(self, plain: socket.socket | ssl.SSLSocket) -> None:
        self._plain = plain
        self._in = b""
        self._at = 0
        self._pieces: list[bytes] = []
        self._wanted = 0  # bytes, for the packet at the head to be whole
        self.closed = False  # by the other side, or broken
        self._out = bytearray()
        self._later: deque[bytes] = deque()

    # what paho calls

    def recv(self, size: int) -> bytes:
        """Raises what the socket raises; b"" when the other side has closed."""
        if self._at == len(self._in):
            self._in, self._at = self._plain.recv(READ_BYTES), 0
        piece = self._in[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def send(self, data: bytes) -> int:
        """Takes all of it; `flush` sends. BlockingIOError while too much is waiting."""
        if len(self._out) >= WRITE_BYTES and not self.flush():
            raise BlockingIOError
        self._gather()  # nothing overtakes what was given before it, least of all a DISCONNECT
        self._out += data
        return len(data)

    def close(self) -> None:
        """What paho has written is sent, its DISCONNECT above all, as far as it goes at once."""
        with suppress(OSError):
            self.flush()
        self._plain.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    # what the listener calls

    def fill(self) -> bool:
        """Reads what has come; False: nothing more can be read now."""
        try:
            piece = self._plain.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            piece = b""
        if not piece:
            self.closed = True
            return False
        self._pieces.append(piece)
        # a large packet is put together once, not anew with each of its pieces
        if sum(map(len, self._pieces)) >= self._wanted - (len(self._in) - self._at):
            self._in, self._at = self._in[self._at :] + b"".join(self._pieces), 0
            self._pieces.clear()
        return True

    def messages(self, version5: bool) -> list[Publish]:
        """The messages at the head of what has been read."""
        found, self._at = publishes(self._in, self._at, version5)
        end = packet_end(self._in, self._at)
        self._wanted = 0 if end is None else end - self._at
        return found

    def for_paho(self) -> bool:
        """Whether a whole packet, that is no message for us, is at the head."""
        end = packet_end(self._in, self._at)
        return end is not None and end <= len(self._in)

    def later(self, data: bytes) -> None:
        """To be sent by the next `flush`; from any thread."""
        self._later.append(data)

    def flush(self) -> bool:
        """Whether all is sent. Raises OSError when the connection is broken."""
        self._gather()
        while self._out:
            try:
                sent = self._plain.send(self._out)
            except (BlockingIOError, ssl.SSLWantWriteError):
                return False
            del self._out[:sent]
        return True

    def _gather(self) -> None:
        while self._later:
            self._out += self._later.popleft()


class BufferedClient(Client):
    """paho's client with such a socket. Overrides one method that paho keeps to itself; a test
    holds it to the installed version."""

    def _create_socket(self) -> Any:
        return BufferedSocket(super()._create_socket())  # type: ignore[arg-type]
