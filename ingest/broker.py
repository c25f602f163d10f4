"""Where the broker is, and on what terms its messages are taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """How to reach the broker, and how much may wait. `connack_s`: how long an answer to a connect
    may take before it counts as silence (amqtt's answer to MQTT 5). `announce`: topics and payloads
    that each connection begins with, retained."""

    url: str
    filters: tuple[str, ...]
    password: str | None = None
    client_id: str = "courtyard-watch"
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive_s: int = 60
    session_expiry_s: int = 86_400
    max_queued_messages: int = 50_000
    max_queued_bytes: int = 64_000_000
    connack_s: float = 5.0
    announce: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of `mqtt://user@host:port`, or of `mqtts://` for TLS."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: bool


def parse_url(url: str) -> Address:
    """Raises ValueError that says what is wrong; it never repeats the password."""
    parts = urlsplit(url)
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise ValueError("the broker's url must read mqtt://user@host:port or mqtts://…")
    tls = parts.scheme == "mqtts"
    return Address(
        parts.hostname,
        parts.port or (8883 if tls else 1883),
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        tls,
    )
