"""Which clock a simulation keeps: that of the service which listens on the same broker."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from ingest.announcement import TOPIC, Announcement
from ingest.clock import Clock
from simulators.publisher import PublishError

WAIT_S = 1.0
CONNECT_S = 10.0


def clock_for(broker_url: str, speed: float | None) -> Clock:
    """The service's clock, if one has announced itself on that broker; else wall time, or a clock
    of that speed. ValueError: a speed that the service does not keep."""
    found = announced(broker_url)
    if found is None:
        return Clock() if speed in (None, 1.0) else Clock(speed=speed or 1.0)
    if speed is not None and speed != found.speed:
        kept = f"at speed {found.speed:g}" if found.simulated else "on wall time"
        raise ValueError(
            f"--speed {speed:g} is refused: the service on this broker runs {kept}, and would take "
            "the readings for those of a device whose clock is wrong"
        )
    return found.clock()


def wait_for_service(broker_url: str, stop: threading.Event) -> bool:
    """Until a service has announced itself on that broker, which may not be up yet either."""
    while not stop.is_set():
        try:
            if announced(broker_url) is not None:
                return True
        except PublishError:
            stop.wait(0.2)
    return False


def announced(broker_url: str) -> Announcement | None:
    """What a service on that broker says of its clock. Raises PublishError without a broker."""
    parts = urlsplit(broker_url)
    if parts.scheme != "mqtt" or not parts.hostname:
        raise PublishError(f"{broker_url!r} is no broker: write mqtt://host:port")
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    if parts.username:
        client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
    return _heard(client, parts.hostname, parts.port or 1_883)


def _heard(client: paho.Client, host: str, port: int) -> Announcement | None:
    heard: list[Announcement] = []

    def on_connect(*_: Any) -> None:
        client.subscribe(TOPIC, 0)

    def on_message(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        heard.append(msgspec.json.decode(message.payload, type=Announcement))

    client.on_connect = on_connect
    client.on_message = on_message
    try:
        client.connect(host, port)
    except OSError as error:
        raise PublishError(f"no broker at mqtt://{host}:{port}: {error}") from error
    try:
        for _ in range(int(WAIT_S / 0.05)):
            client.loop(0.05)
            if heard:
                break
    finally:
        client.disconnect()
        client.loop(0.1)
    return heard[0] if heard else None
