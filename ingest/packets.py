"""The MQTT packets that come by the thousand, read without paho: PUBLISH of QoS 0 and 1 (OASIS
MQTT 3.1.1 §3.3, MQTT 5.0 §3.3), and PUBACK written."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

PUBLISH = 0x30
TYPE = 0xF0
RETAIN, QOS1, QOS2, DUP = 0x01, 0x02, 0x04, 0x08

_UINT16 = struct.Struct("!H")
_PUBACK = struct.Struct("!BBH")


class Publish(NamedTuple):
    """A message as it came; `topic` are bytes that may be no text. `mid` is 0 for QoS 0."""

    topic: bytes
    payload: bytes
    mid: int
    qos: int
    retain: bool
    dup: bool


def packet_end(data: bytes, at: int) -> int | None:
    """Where the packet that begins at `at` ends (maybe beyond `data`); None while its length is
    not all there. A length that MQTT does not allow is left to paho: the end of its header."""
    length, shift = 0, 0
    for position in range(at + 1, min(at + 5, len(data))):
        digit = data[position]
        length |= (digit & 0x7F) << shift
        if digit < 0x80:
            return position + 1 + length
        shift += 7
    return at + 5 if len(data) >= at + 5 else None


def publishes(data: bytes, at: int, version5: bool) -> tuple[list[Publish], int]:
    """The PUBLISH packets from `at` on that are whole and well-formed, and where they end. What is
    anything else is for paho to read, or to complain about."""
    found: list[Publish] = []
    while at < len(data) and data[at] & TYPE == PUBLISH and not data[at] & QOS2:
        end = packet_end(data, at)
        if end is None or end > len(data):
            break
        publish = _publish(data, at, end, version5)
        if publish is None:
            break
        found.append(publish)
        at = end
    return found, at


def _publish(data: bytes, at: int, end: int, version5: bool) -> Publish | None:
    head = data[at]
    begin = at + 2
    while data[begin - 1] & 0x80:  # the length's last byte is the first below 128
        begin += 1
    topic_at = begin + 2
    if topic_at > end:
        return None
    begin = topic_at + _UINT16.unpack_from(data, begin)[0]
    topic = data[topic_at:begin]
    mid = 0
    if head & QOS1:
        if begin + 2 > end:
            return None
        mid = _UINT16.unpack_from(data, begin)[0]
        begin += 2
    if version5:
        # none of a message's properties says anything to us; an alias needs our consent
        if begin >= end or data[begin] & 0x80:
            return None
        begin += 1 + data[begin]
    if begin > end or not topic:
        return None
    return Publish(
        topic,
        data[begin:end],
        mid,
        1 if head & QOS1 else 0,
        bool(head & RETAIN),
        bool(head & DUP),
    )


def pubacks(mids: Iterable[int]) -> bytes:
    """Acknowledgements of QoS 1 messages, in the given order; alike in both versions."""
    return b"".join([_PUBACK.pack(0x40, 2, mid) for mid in mids])
