"""A publisher that knows exactly which of its QoS 1 messages the broker acknowledged.

It writes MQTT 3.1.1 by hand, in large pieces, so that it is never the slow part of a benchmark.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

Message = tuple[str, bytes]
WINDOW = 1_000  # unacknowledged messages under way, below mosquitto's raised in-flight limit


def publish_packet(topic: str, payload: bytes, mid: int) -> bytes:
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name + struct.pack("!H", mid) + payload
    return b"\x32" + _length(len(body)) + body


def _length(n: int) -> bytes:
    out = bytearray()
    while True:
        n, digit = divmod(n, 128)
        out.append(digit | (0x80 if n else 0))
        if not n:
            return bytes(out)


def _string(text: str) -> bytes:
    return struct.pack("!H", len(text.encode())) + text.encode()


@dataclass
class Publisher:
    """`acked` are the positions, in the order of publishing, that the broker answered for."""

    port: int
    client_id: str = "load"
    acked: list[int] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> Publisher:
        self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = _string("MQTT") + b"\x04\x02" + struct.pack("!H", 600) + _string(self.client_id)
        self._socket.sendall(b"\x10" + _length(len(body)) + body)
        connack = self._socket.recv(4)
        if connack[3:] != b"\x00":
            raise ConnectionError(f"the broker refused: {connack!r}")
        self._socket.setblocking(False)
        self._in = bytearray()
        self._pending: dict[int, int] = {}
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._socket.setblocking(True)
            self._socket.sendall(b"\xe0\x00")
        except OSError:
            pass  # a broker that is gone needs no farewell
        self._socket.close()

    def publish(
        self, messages: Sequence[Message], per_s: float = 0.0, deadline_s: float = 120.0
    ) -> None:
        """Sends all and returns when all are acknowledged. `per_s` = 0: as fast as it goes."""
        began = time.monotonic()
        out = b""
        position = 0
        while position < len(messages) or self._pending or out:
            now = time.monotonic() - began
            if now > deadline_s:
                raise TimeoutError(f"{len(self._pending)} messages were not acknowledged")
            allowed = len(messages) if not per_s else min(len(messages), int(now * per_s) + 1)
            if not out and position < allowed and len(self._pending) < WINDOW:
                upto = min(allowed, position + WINDOW - len(self._pending))
                out = b"".join(self._packet(m) for m in messages[position:upto])
                position = upto
            readable, writable, _ = select.select(
                [self._socket], [self._socket] if out else [], [], 0.01
            )
            if writable:
                out = out[self._socket.send(out) :]
            if readable:
                self._read()

    def _packet(self, message: Message) -> bytes:
        mid = self.sent % 65_535 + 1
        self._pending[mid] = self.sent
        self.sent += 1
        return publish_packet(*message, mid)

    def _read(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError("the broker closed the connection")
        self._in += data
        whole = len(self._in) // 4 * 4  # only PUBACKs come back: 40 02 mid
        for at in range(0, whole, 4):
            mid = int.from_bytes(self._in[at + 2 : at + 4], "big")
            self.acked.append(self._pending.pop(mid))
        del self._in[:whole]
