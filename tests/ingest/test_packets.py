"""Our reading of MQTT packets, against paho's own writing of them and against hostile bytes."""

from __future__ import annotations

import inspect
import socket
from typing import Any

import paho.mqtt.client as paho
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.buffered import BufferedClient, BufferedSocket
from ingest.packets import Publish, packet_end, pubacks, publishes

topics = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)
messages = st.lists(
    st.tuples(
        topics, st.binary(max_size=400), st.integers(1, 65_535), st.integers(0, 1), st.booleans()
    ),
    max_size=6,
)


def written(version5: bool, topic: str, payload: bytes, mid: int, qos: int, retain: bool) -> bytes:
    """What paho would put on the wire."""
    version = MQTTProtocolVersion.MQTTv5 if version5 else MQTTProtocolVersion.MQTTv311
    client: Any = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
    client.on_socket_register_write = lambda *_: None  # then packets are queued, not sent
    client._sock = object()
    client._send_publish(
        mid, topic.encode(), payload, qos, retain, properties=_properties(version5, mid)
    )
    client._sock = None
    return bytes(client._out_packet.popleft()["packet"])


def _properties(version5: bool, mid: int) -> Properties | None:
    if not version5 or mid % 2:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = ("schema", "1")
    return properties


@given(messages, st.booleans(), st.binary(max_size=3))
def test_what_paho_writes_reads_back(
    given_messages: list[tuple[str, bytes, int, int, bool]], version5: bool, rest: bytes
) -> None:
    parts = [written(version5, *message) for message in given_messages]
    whole = b"".join(parts)
    incomplete = b"\x32\x7f" + rest
    found, end = publishes(whole + incomplete, 0, version5)
    assert end == len(whole)
    assert found == [
        Publish(topic.encode(), payload, mid if qos else 0, qos, retain, False)
        for topic, payload, mid, qos, retain in given_messages
    ]


@given(messages, st.booleans(), st.data())
def test_a_burst_may_be_cut_anywhere(
    given_messages: list[tuple[str, bytes, int, int, bool]], version5: bool, data: st.DataObject
) -> None:
    whole = b"".join(written(version5, *message) for message in given_messages)
    cut = data.draw(st.integers(0, len(whole)))
    first, end = publishes(whole[:cut], 0, version5)
    second, last = publishes(whole, end, version5)
    assert first + second == publishes(whole, 0, version5)[0]
    assert last == len(whole)


@given(st.binary(max_size=60), st.booleans())
def test_no_bytes_raise_and_none_are_taken_twice(data: bytes, version5: bool) -> None:
    found, end = publishes(data, 0, version5)
    assert 0 <= end <= len(data)
    assert bool(found) == (end > 0)
    packet_end(data, 0)


def test_other_packets_are_left_to_paho() -> None:
    suback, ping, qos2 = b"\x90\x03\x00\x01\x01", b"\xd0\x00", b"\x34\x05\x00\x01a\x00\x01"
    for packet in (suback, ping, qos2):
        assert publishes(packet, 0, False) == ([], 0)
        assert packet_end(packet, 0) == len(packet)
    assert packet_end(b"\x30\xff\xff\xff\xff", 0) == 5  # no length of MQTT's
    assert packet_end(b"\x30\x80", 0) is None


def test_acknowledgements_are_those_of_the_standard() -> None:
    assert pubacks([1, 65_535]) == b"\x40\x02\x00\x01\x40\x02\xff\xff"


def test_the_method_that_we_override_is_there_in_this_paho() -> None:
    ours, theirs = BufferedClient._create_socket, paho.Client._create_socket
    assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters
    assert "self._create_socket()" in inspect.getsource(paho.Client.reconnect)


@given(messages, st.lists(st.integers(1, 50), min_size=1))
def test_a_stream_in_any_pieces_gives_every_message_once_and_the_rest_to_paho(
    given_messages: list[tuple[str, bytes, int, int, bool]], sizes: list[int]
) -> None:
    ping = b"\xd0\x00"
    stream = b"".join(written(False, *message) + ping for message in given_messages)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        buffered, found, pings = BufferedSocket(ours), [], 0
        while stream:
            size = sizes[len(stream) % len(sizes)]
            theirs.sendall(stream[:size])
            stream = stream[size:]
            assert buffered.fill()
            while (came := buffered.messages(False)) or buffered.for_paho():
                found += came
                if not came:
                    assert buffered.recv(2) == ping
                    pings += 1
        assert [(p.topic.decode(), p.payload) for p in found] == [m[:2] for m in given_messages]
        assert pings == len(given_messages)
        theirs.close()
        assert (buffered.fill(), buffered.closed) == (False, True)


def test_acknowledgements_go_before_what_is_written_after_them() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        buffered = BufferedSocket(ours)
        buffered.later(pubacks([1]))
        buffered.send(b"\xe0\x00")
        buffered.close()
        assert theirs.recv(100) == b"\x40\x02\x00\x01\xe0\x00"
