"""The only file that speaks MQTT: what the broker delivers waits here to be taken and, once it is
on disk, is acknowledged in the order of receipt."""

from __future__ import annotations

import logging
import random
import select
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest.bell import Bell
from ingest.broker import MqttConfig, parse_url
from ingest.buffered import BufferedClient
from ingest.clock import Clock
from ingest.counters import ListenerCounters
from ingest.deliveries import Delivery, Taken, Waiting
from ingest.dialect import Inbound
from ingest.packets import Publish, pubacks

__all__ = ["DROPPED", "NOT_UTF8", "Listener", "MqttConfig", "parse_url"]

_log = logging.getLogger(__name__)

DROPPED = "$SYS/broker/publish/messages/dropped"
NOT_UTF8 = "topic_not_utf8"

CONNECT_TIMEOUT_S = 5.0
RETRY_FIRST_S, RETRY_MOST_S = 0.1, 10.0
SETTLED_S = 10.0
"""A connection that lived so long was a good one: the next retry starts from the shortest wait."""

LOOP_S = 0.5
"""Packets that are read before acknowledgements are written."""
MOST_LEFT = 10_000
"""Packets that may still lie in the buffer of a connection that is over."""

# a named tuple's own __new__ is Python: this makes the same thing in half the time
_new = tuple.__new__

MOST_PACKET_BYTES = 16 * 1024 * 1024
"""MQTT 5 only: a broker keeps back what is larger. A device's largest legal message has 1 MiB."""


class Listener:
    """A persistent session that outlives connections and, at the broker, this process.

    Every connection has a paho client of its own, so that nothing queued for one connection can
    ever be sent on another. One thread connects, reads and reconnects. The lock of the waiting
    queue guards `_client`, which is None whenever nothing may be acknowledged.
    """

    def __init__(
        self, config: MqttConfig, clock: Clock, *, epoch: int = 0, after_us: int = 0
    ) -> None:
        """`epoch` and `after_us`: the newest epoch and time in the journal; both go on from
        there."""
        self.counters = ListenerCounters()
        self.problem = "not yet connected"
        self._config = config
        self._address = parse_url(config.url)
        self._waiting = Waiting(
            clock, config.max_queued_messages, config.max_queued_bytes, after_us
        )
        self._waiting.epoch = epoch
        self._client: Client | None = None
        self._connection = 0
        self._subscribed = False
        self._version = "3.1.1" if config.protocol == "3.1.1" else "5"
        self._proven = config.protocol != "auto"
        self._refusal: str | None = None
        self._dropped: int | None = None
        self._unsent = False
        self._bell = Bell()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courtyard.mqtt", daemon=True)

    # what the pipeline sees

    @property
    def connected(self) -> bool:
        return self._client is not None

    @property
    def protocol(self) -> str:
        """The version that is spoken, or tried next."""
        return self._version

    @property
    def queued(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """An orderly end: acknowledgements under way are sent, the session stays."""
        self._stopping.set()
        with self._waiting.lock:
            client, self._client = self._client, None
            self._waiting.room.notify_all()
            self._waiting.wake()
        if client is not None:
            client.disconnect()
        self._bell.ring()
        if self._thread.is_alive():
            self._thread.join(2 * CONNECT_TIMEOUT_S)
        self._bell.close()

    def abort(self) -> None:
        """For a failed commit: the connection ends at once, and nothing more is acknowledged."""
        self._stopping.set()
        with self._waiting.lock:
            client, self._client = self._client, None
            self._waiting.room.notify_all()
            self._waiting.wake()
        if client is not None:
            _shut(client)

    def take(self, limit: int, wait_s: float) -> Taken:
        return self._waiting.take(limit, wait_s)

    def stamp(self) -> int:
        with self._waiting.lock:
            return self._waiting.stamp()

    def ack(self, deliveries: list[Delivery]) -> None:
        """Messages of an earlier connection are left out: in a session that went on the broker
        delivers them again, in a new one their ids belong to other messages."""
        with self._waiting.lock:
            client, current = self._client, self._connection
            if client is None:
                self.counters.stale_acknowledgements += len(deliveries)
                return
            mids = [d.mid for d in deliveries if d.connection == current and d.inbound.qos]
            sock: Any = client.socket()
            if mids and sock is not None:
                sock.later(pubacks(mids))
                self._bell.ring()
            self.counters.acknowledged += len(mids)
            self.counters.stale_acknowledgements += sum(d.connection != current for d in deliveries)

    # the thread

    def _run(self) -> None:
        wait_s = RETRY_FIRST_S
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._connect_and_listen()
            except Exception as error:
                # a fault of the client library must not silence the site: say it, and try again
                _log.exception("mqtt connection failed")
                self._lost(None, f"{type(error).__name__}: {error}")
            if time.monotonic() - began > SETTLED_S:
                wait_s = RETRY_FIRST_S
            self._stopping.wait(random.uniform(wait_s / 2, wait_s))
            self._wait_until_half_empty()
            wait_s = min(2 * wait_s, RETRY_MOST_S)

    def _wait_until_half_empty(self) -> None:
        with self._waiting.lock:
            while not self._stopping.is_set() and not self._waiting.half_empty():
                self._waiting.room.wait(1.0)

    def _connect_and_listen(self) -> None:
        client = self._new_client()
        self._refusal = None
        try:
            self._connect(client)
        except (OSError, ValueError) as error:
            self._lost(None, f"cannot reach {self._address.host}:{self._address.port}: {error}")
            return
        before = self._connection
        self._listen(client, before)
        if self._connection == before:
            self._try_the_other_version()

    def _listen(self, client: Client, before: int) -> None:
        """Until the connection is over; one without an answer is ended."""
        deadline = time.monotonic() + self._config.connack_s
        more = False
        while (sock := client.socket()) is not None:
            more = self._read_on(client, sock, more)
            if client.want_write():
                client.loop_write()
            self._unsent = not _flushed(sock)
            client.loop_misc()
            if self._connection == before and time.monotonic() > deadline:
                self.problem = f"no answer to a connect of MQTT {self._version}"
                break
            if self._stopping.is_set() and self._client is None and not client.want_write():
                break
        _shut(client)
        # paho closes its socket only where it reads that the other side has
        for _ in range(MOST_LEFT):
            if client.socket() is None or client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
        self._lost(client, self.problem)

    def _read_on(self, client: Client, sock: Any, more: bool) -> bool:
        """Waits for something to do, and reads what has come; whether more may have come."""
        writing = [sock] if client.want_write() or self._unsent else []
        wait_s = 0.0 if more else LOOP_S
        readable, _, _ = select.select([sock, self._bell.hears], writing, [], wait_s)
        if self._bell.hears in readable:
            self._bell.silence()
        if not more and sock not in readable:
            return False
        more = bool(sock.fill())
        version5 = self._version == "5"
        while True:
            if came := sock.messages(version5):
                self._on_messages(client, came)
            elif sock.for_paho():
                client.loop_read()
            else:
                break
        if sock.closed:
            client.loop_read()  # paho meets the same, and says that the connection is lost
        return more

    def _try_the_other_version(self) -> None:
        if not self._proven and self._refusal in (None, "Unsupported protocol version"):
            self._version = "3.1.1" if self._version == "5" else "5"

    def _new_client(self) -> Client:
        five = self._version == "5"
        client = BufferedClient(
            CallbackAPIVersion.VERSION2,
            self._config.client_id,
            clean_session=None if five else False,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if self._address.tls:
            client.tls_set()
        if self._address.user is not None:
            password = self._config.password or self._address.password
            client.username_pw_set(self._address.user, password)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        # with this set, an acknowledgement from another thread is queued and our loop is woken;
        # without it paho would write from that thread too
        client.on_socket_register_write = self._bell.ring
        return client

    def _connect(self, client: Client) -> None:
        address, keepalive_s = self._address, self._config.keepalive_s
        if self._version != "5":
            client.connect(address.host, address.port, keepalive_s)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._config.session_expiry_s
        properties.MaximumPacketSize = MOST_PACKET_BYTES
        client.connect(
            address.host, address.port, keepalive_s, clean_start=False, properties=properties
        )

    def _subscribe(self, client: Client) -> None:
        """QoS 1 at most: for QoS 2 paho releases the message itself."""
        if self._version == "5":
            # retained messages only where the subscription is new
            options = SubscribeOptions(qos=1, retainHandling=1)
            wanted: list[tuple[str, Any]] = [(name, options) for name in self._config.filters]
            client.subscribe([*wanted, (DROPPED, SubscribeOptions(qos=0))])
        else:
            client.subscribe([*((name, 1) for name in self._config.filters), (DROPPED, 0)])

    def _lost(self, client: Client | None, problem: str) -> None:
        with self._waiting.lock:
            if client is None or client is self._client:
                self._client = None
        if problem and not self._stopping.is_set():
            self.problem = problem
            _log.warning("mqtt away problem=%s", problem)

    # paho's callbacks, in the thread

    def _on_connect(
        self, client: Client, _: object, flags: ConnectFlags, reason: ReasonCode, __: object
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            self.problem = f"the broker refused MQTT {self._version}: {reason}"
            return
        self._proven = True
        with self._waiting.lock:
            if self._stopping.is_set():
                return
            self._connection += 1
            self.counters.connections += 1
            if not flags.session_present:
                self.counters.lost_sessions += self._waiting.epoch > 0
                self._waiting.epoch += 1
                self._waiting.wake()
                self._subscribed = False
            self._client = client
            self.problem = ""
        _log.info(
            "mqtt connected version=%s session_present=%s epoch=%d",
            self._version, flags.session_present, self._waiting.epoch,
        )  # fmt: skip
        # the first connection of a process cannot know whether a run before it was killed between
        # its connect and its subscribe, which would leave a session that hears nothing
        if not self._subscribed:
            self._subscribe(client)
        for topic, payload in self._config.announce:
            client.publish(topic, payload, 1, retain=True)

    def _on_subscribe(
        self, client: Client, _: object, __: int, reasons: list[ReasonCode], ___: object
    ) -> None:
        names = (*self._config.filters, DROPPED)
        refused = [name for name, reason in zip(names, reasons, strict=False) if reason.is_failure]
        self._subscribed = True
        if any(name != DROPPED for name in refused):
            self.problem = f"the broker refuses to let us subscribe to {', '.join(refused)}"
            _log.error("mqtt problem=%s", self.problem)

    def _on_disconnect(
        self, client: Client, _: object, __: DisconnectFlags, reason: ReasonCode, ___: object
    ) -> None:
        with self._waiting.lock:
            if client is self._client:
                self._client = None
                self.counters.lost_connections += 1
                self.problem = f"connection lost: {reason}"

    def _on_message(self, client: Client, _: object, message: MQTTMessage) -> None:
        """One that paho has read itself: after it had read something else of the same burst."""
        try:
            name = message.topic.encode()
        except UnicodeDecodeError as error:
            name = bytes(error.object)
        came = Publish(
            name,
            bytes(message.payload),
            message.mid,
            message.qos,
            message.retain,
            message.dup,
        )
        self._on_messages(client, [came])

    def _on_messages(self, client: Client, came: list[Publish]) -> None:
        with self._waiting.lock:
            for publish in came:
                # what is not taken in is not acknowledged, and comes again in the next connection
                if client is not self._client:
                    return
                if self._waiting.full() and not self._room(client):
                    return
                self._take_in(publish)

    def _take_in(self, publish: Publish) -> None:
        name, payload, mid, qos, retain, dup = publish
        try:
            topic, refused = name.decode(), ""
        except UnicodeDecodeError:
            topic, refused = name.decode("utf-8", "backslashreplace"), NOT_UTF8
        if topic == DROPPED:
            self._note_dropped(payload)
            return
        self.counters.received += 1
        if not qos:
            self.counters.received_qos0 += 1
        inbound = Inbound(topic, payload, self._waiting.stamp(), retain, dup, qos)
        delivery = (inbound, mid, self._connection, self._waiting.epoch, refused)
        self._waiting.put(_new(Delivery, delivery))

    def _room(self, client: Client) -> bool:
        """Waits, with the lock, until there is room; if there is none in half the keepalive, the
        connection is given up. The broker keeps the session and what it has not delivered."""
        deadline = time.monotonic() + self._config.keepalive_s / 2
        while self._waiting.full() and client is self._client:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.counters.pauses += 1
                self._client = None
                self.problem = "the queue is full: waiting for the worker"
                client.disconnect()
                return False
            self._waiting.room.wait(left_s)
        return client is self._client

    def _note_dropped(self, payload: bytes) -> None:
        if not payload.isdigit() or len(payload) > 18:
            return
        dropped = int(payload)
        if self._dropped is not None:
            # a smaller number is that of a broker which started again
            self.counters.broker_dropped += dropped - (
                self._dropped if dropped >= self._dropped else 0
            )
        self._dropped = dropped


def _flushed(sock: Any) -> bool:
    """Whether all that paho has written is sent, or can never be."""
    try:
        return bool(sock.flush())
    except OSError:
        return True  # the next read says that the connection is broken


def _shut(client: Client) -> None:
    """Ends a connection at once, from any thread; the broker keeps the session."""
    sock: Any = client.socket()
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
