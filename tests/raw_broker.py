"""A broker of raw bytes: sends what no real broker lets through, and keeps what it is told."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from tests.servers import LOOPBACK, PATIENCE_S, wait_until


def _length(n: int) -> bytes:
    out = bytearray()
    while True:
        n, digit = divmod(n, 128)
        out.append(digit | (0x80 if n else 0))
        if not n:
            return bytes(out)


@dataclass
class RawBroker:
    """One client at a time. `v5` says how a connect of MQTT 5 is met; `log` holds what came, as
    `connect 4`, `subscribe a,b`, `puback 7`, `disconnect`."""

    v5: Literal["accept", "silence", "refuse", "hang up"] = "accept"
    session_present: bool = False
    refuse_with: int = 0
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client: socket.socket | None = None
        self._level = 4

    @property
    def url(self) -> str:
        return f"mqtt://{LOOPBACK}:{self.port}"

    def open(self) -> None:
        self._door = socket.create_server((LOOPBACK, 0))
        self.port: int = self._door.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self.hang_up()
        self._thread.join(PATIENCE_S)

    def hang_up(self) -> None:
        client = self._client
        if client is not None:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def pubacks(self) -> list[int]:
        return [int(line.split()[1]) for line in self.log if line.startswith("puback")]

    def wait_for(self, line: str, times: int = 1) -> None:
        wait_until(
            lambda: sum(said.startswith(line) for said in list(self.log)) >= times,
            f"{line!r} x {times} in {self.log}",
        )

    def publish(
        self,
        topic: bytes,
        payload: bytes,
        mid: int = 1,
        *,
        qos: int = 1,
        dup: bool = False,
        retain: bool = False,
    ) -> None:
        head = 0x30 | (8 if dup else 0) | (qos << 1) | int(retain)
        body = struct.pack("!H", len(topic)) + topic
        body += struct.pack("!H", mid) if qos else b""
        body += b"\0" if self._level == 5 else b""
        self.send(bytes([head]) + _length(len(body) + len(payload)) + body + payload)

    def send(self, data: bytes) -> None:
        client = self._client
        if client is None:
            raise ConnectionError("nobody is connected to the raw broker")
        client.sendall(data)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            with client, suppress(OSError):
                self._client = client
                self._converse(client.makefile("rb", buffering=0))
            self._client = None

    def _converse(self, stream: socket.SocketIO) -> None:
        with stream:
            while head := stream.read(1):
                kind, body = head[0] >> 4, self._body(stream)
                if not self._answer(kind, body):
                    return

    def _body(self, stream: socket.SocketIO) -> bytes:
        length, shift = 0, 0
        while True:
            digit = (stream.read(1) or b"\0")[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                break
        body = b""
        while len(body) < length and (more := stream.read(length - len(body))):
            body += more
        return body

    def _answer(self, kind: int, body: bytes) -> bool:
        """Whether the conversation goes on."""
        if kind == 1:
            return self._connect(body)
        if kind == 8:
            self._subscribe(body)
        elif kind == 4:
            self.log.append(f"puback {struct.unpack('!H', body[:2])[0]}")
        elif kind == 12:
            self.send(b"\xd0\x00")
        elif kind == 14:
            self.log.append("disconnect")
        return True

    def _connect(self, body: bytes) -> bool:
        self._level = body[6]
        self.log.append(f"connect {self._level}")
        if self._level == 5 and self.v5 == "silence":
            return True
        if self._level == 5 and self.v5 == "hang up":
            return False
        if self._level == 5 and self.v5 == "refuse":
            self.send(b"\x20\x02\x00\x01")
            return False
        code = self.refuse_with
        flags = int(self.session_present and not code)
        more = b"\0" if self._level == 5 else b""
        self.send(b"\x20" + _length(2 + len(more)) + bytes([flags, code]) + more)
        return code == 0

    def _subscribe(self, body: bytes) -> None:
        mid, rest = body[:2], body[2:]
        if self._level == 5:
            rest = rest[1 + rest[0] :]
        filters = []
        while rest:
            (length,) = struct.unpack("!H", rest[:2])
            filters.append(rest[2 : 2 + length].decode())
            rest = rest[3 + length :]
        self.log.append(f"subscribe {','.join(filters)}")
        answer = mid + (b"\0" if self._level == 5 else b"") + b"\x01" * len(filters)
        self.send(b"\x90" + _length(len(answer)) + answer)
