"""Publishes messages to a broker, each when the service clock says so."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from ingest.clock import US_PER_S, Clock
from simulators.message import Message

CONNECT_S = 20.0
MOST_UNACKNOWLEDGED = 2_000
REPORT_S = 1.0


@dataclass(slots=True)
class Progress:
    """What went out so far. `lag_s` is how late, in service time, the newest message was."""

    published: int = 0
    acknowledged: int = 0
    payload_bytes: int = 0
    lag_s: float = 0.0
    worst_lag_s: float = 0.0
    lost_connections: int = 0


class PublishError(ConnectionError):
    """The broker cannot be reached, or stopped acknowledging; says which broker and why."""


@dataclass(slots=True)
class _Line:
    """One connection. All messages of a principal take the same, so that they stay in order."""

    client: paho.Client
    connected: threading.Event = field(default_factory=threading.Event)
    refusal: str = ""


class _Lines:
    def __init__(self, url: str, count: int, name: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "mqtt" or not parts.hostname:
            raise PublishError(f"{url!r} is no broker: write mqtt://host:port")
        self.url = f"mqtt://{parts.hostname}:{parts.port or 1_883}"
        self.lock = threading.Condition()
        self.progress = Progress()
        self.lines = [self._line(f"{name}-{number}") for number in range(count)]
        if parts.username:
            password = None if parts.password is None else unquote(parts.password)
            for line in self.lines:
                line.client.username_pw_set(unquote(parts.username), password)
        self._address = (parts.hostname, parts.port or 1_883)

    def _line(self, client_id: str) -> _Line:
        # 3.1.1 is what every broker speaks, the demo's too
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv311
        )
        client.max_inflight_messages_set(200)
        line = _Line(client)

        def connected(_c: Any, _d: Any, _flags: Any, reason: Any, _p: Any) -> None:
            line.refusal = str(reason) if reason.is_failure else ""
            line.connected.set()

        def gone(_c: Any, _d: Any, _flags: Any, reason: Any, _p: Any) -> None:
            if reason.is_failure:
                with self.lock:
                    self.progress.lost_connections += 1

        def acknowledged(_c: Any, _d: Any, _mid: Any, _reason: Any, _p: Any) -> None:
            with self.lock:
                self.progress.acknowledged += 1
                self.lock.notify()

        client.on_connect = connected
        client.on_disconnect = gone
        client.on_publish = acknowledged
        return line

    def open(self) -> None:
        host, port = self._address
        for line in self.lines:
            try:
                line.client.connect(host, port, keepalive=60)
            except OSError as error:
                raise PublishError(f"no broker at {self.url}: {error}") from error
            line.client.loop_start()
        for line in self.lines:
            if not line.connected.wait(CONNECT_S):
                raise PublishError(f"{self.url} did not answer within {CONNECT_S:.0f} s")
            if line.refusal:
                raise PublishError(f"{self.url} refused the connection: {line.refusal}")

    def send(self, message: Message) -> None:
        row = zlib.crc32(message.principal.encode()) % len(self.lines)
        info = self.lines[row].client.publish(
            message.topic, message.payload, message.qos, message.retain
        )
        # a message given while the connection is away is kept, and sent when it is back
        if info.rc not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN}:
            raise PublishError(f"{self.url}: {paho.error_string(info.rc)}")

    def wait_acknowledged(self, most: int, stop: threading.Event, timeout_s: float) -> bool:
        """Waits until at most `most` messages are not acknowledged; False if that did not come."""
        deadline = time.monotonic() + timeout_s
        with self.lock:
            while self.progress.published - self.progress.acknowledged > most:
                if stop.is_set() or time.monotonic() > deadline:
                    return False
                self.lock.wait(0.1)
        return True

    def close(self) -> None:
        for line in self.lines:
            line.client.disconnect()
            line.client.loop_stop()


def publish(
    messages: Iterable[Message],
    broker_url: str,
    clock: Clock,
    *,
    stop: threading.Event | None = None,
    told: Callable[[Progress], None] | None = None,
    connections: int = 4,
    name: str = "courtyard-simulate",
    patience_s: float = 60.0,
) -> Progress:
    """Publishes in the given order, nothing before its time; `stop` ends it early. If the broker
    is slower than the clock it falls behind and says so in `lag_s`; nothing is dropped. `told` is
    called about once a second. Raises PublishError, also where `patience_s` passes without an
    acknowledgement while too many are awaited."""
    stop = stop or threading.Event()
    lines = _Lines(broker_url, connections, name)
    try:
        lines.open()
        _run(lines, messages, clock, stop, told, patience_s)
        if not lines.wait_acknowledged(0, stop, patience_s) and not stop.is_set():
            raise PublishError(_unheard(lines, patience_s))
    finally:
        lines.close()
    if told:
        told(lines.progress)
    return lines.progress


def _run(
    lines: _Lines,
    messages: Iterable[Message],
    clock: Clock,
    stop: threading.Event,
    told: Callable[[Progress], None] | None,
    patience_s: float,
) -> None:
    progress, next_told = lines.progress, time.monotonic() + REPORT_S
    for message in messages:
        early_us = message.time_us - clock.now_us()
        while early_us > 0 and not stop.is_set():
            stop.wait(min(clock.wall_s(early_us / US_PER_S), REPORT_S))
            early_us = message.time_us - clock.now_us()
            next_told = _tell(told, progress, next_told)
        if stop.is_set():
            return
        progress.lag_s = max(0.0, -early_us / US_PER_S)
        progress.worst_lag_s = max(progress.worst_lag_s, progress.lag_s)
        lines.send(message)
        with lines.lock:
            progress.published += 1
        progress.payload_bytes += len(message.payload)
        if not lines.wait_acknowledged(MOST_UNACKNOWLEDGED, stop, patience_s):
            if stop.is_set():
                return
            raise PublishError(_unheard(lines, patience_s))
        next_told = _tell(told, progress, next_told)


def _tell(told: Callable[[Progress], None] | None, progress: Progress, next_told: float) -> float:
    if time.monotonic() < next_told:
        return next_told
    if told:
        told(progress)
    return time.monotonic() + REPORT_S


def _unheard(lines: _Lines, patience_s: float) -> str:
    waiting = lines.progress.published - lines.progress.acknowledged
    return f"{lines.url}: {waiting} messages not acknowledged within {patience_s:.0f} s"
