"""Courtyard's own dialect: `courtyard/v1/{principal}/{birth|up|ev|will}`, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec

from ingest.dialect import (
    Decoded,
    Descriptor,
    Dialect,
    Flaw,
    Inbound,
    Observation,
    RefusedError,
    Sighting,
    Signal,
    State,
)
from ingest.inputs import Json
from ingest.metrics import CATALOGUE, state_number
from ingest.readings import Flag
from ingest.shelf import nearest

LEVELS = ("birth", "up", "ev", "will")
MAX_OBSERVATIONS = 2_000
MAX_DEPTH = 16

Scalar = float | int | str | bool | None


class Row(msgspec.Struct, array_like=True):
    """`[channel, metric, value, dt]`; dt is in ms from the message's time."""

    channel: str
    metric: str
    value: Scalar
    dt: int = 0


class Pack(msgspec.Struct):
    """One series as columns: values `x` at `dt` ms from the message's time."""

    c: str
    m: str
    dt: list[int]
    x: list[Scalar]


class _Head(msgspec.Struct):
    v: int = 1
    boot: str = ""
    seq: int = 0
    t: float | int | None = None
    d: str = ""


class _Up(_Head):
    m: list[Row] = []
    p: list[Pack] = []


class _LooseUp(_Head):
    m: list[msgspec.Raw] = []
    p: list[msgspec.Raw] = []


class _Birth(_Head):
    model: str = ""
    fw: str = ""
    interval: float | None = None
    channels: list[tuple[str, str, str]] = []


class _Event(_Head):
    id: str = ""
    kind: str = ""
    channel: str = "main"
    phase: Literal["start", "update", "end"] = "start"
    data: dict[str, msgspec.Raw] = {}


class _Will(msgspec.Struct):
    state: Literal["online", "offline", "asleep"]
    boot: str = ""


_up = msgspec.json.Decoder(_Up)
_loose_up = msgspec.json.Decoder(_LooseUp)
_row = msgspec.json.Decoder(Row)
_pack = msgspec.json.Decoder(Pack)
_birth = msgspec.json.Decoder(_Birth)
_event = msgspec.json.Decoder(_Event)
_will = msgspec.json.Decoder(_Will)

_MEASURED = frozenset(word for word, known in CATALOGUE.items() if known.form != "state")

# a named tuple's own __new__ is Python: this makes the same thing in a seventh of the time
_new = tuple.__new__

# what the decoders raise on hostile bytes: wrong JSON, wrong types, nesting without end
_HOSTILE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)


@dataclass(frozen=True, slots=True)
class Native:
    """Reference: docs/dialects.md, "native"."""

    name: str = "native"
    filters: tuple[str, ...] = tuple(f"courtyard/v1/+/{level}" for level in LEVELS)

    def decode(self, message: Inbound, state: State) -> Decoded:
        principal, level = _address(message.topic)
        if not message.payload:
            raise RefusedError("empty payload: a retained message was cleared")
        try:
            return _DECODERS[level](principal, message.payload)
        except _HOSTILE as error:
            raise RefusedError(f"not a native {level}: {error}") from None


def _address(topic: str) -> tuple[str, str]:
    levels = topic.split("/")
    if len(levels) != 4 or levels[:2] != ["courtyard", "v1"] or not levels[2]:
        raise RefusedError(f"topic {topic[:120]!r} is not courtyard/v1/{{principal}}/{{level}}")
    if levels[3] not in LEVELS:
        raise RefusedError(f"no level {levels[3][:40]!r}{nearest(levels[3], LEVELS)}")
    return levels[2], levels[3]


def _check_version(head: _Head) -> None:
    if head.v != 1:
        raise RefusedError(f"schema version {head.v} is not known; there is: 1")


def _time(t: float | int | None) -> tuple[int | None, int]:
    """µs and flags of a declared ms epoch. One of the magnitude of s, µs or ns is not believed."""
    if t is None:
        return None, 0
    if 1e9 <= t < 4e9 or t >= 1e15:
        return None, int(Flag.TS_UNIT)
    return int(t * 1_000), 0


def _decode_up(principal: str, payload: bytes) -> Decoded:
    decoded = Decoded(principal)
    try:
        up = _up.decode(payload)
        rows, packs, head = up.m, up.p, _Head(up.v, up.boot, up.seq, up.t, up.d)
    except msgspec.ValidationError:
        # one bad row must not cost the others: take the parts one by one
        head, rows, packs = _decode_loosely(payload, decoded.flaws)
    _check_version(head)
    if len(rows) + sum(len(pack.x) for pack in packs) > MAX_OBSERVATIONS:
        raise RefusedError(f"more than {MAX_OBSERVATIONS} values in one message")
    time_us, flags = _time(head.t)
    observe, device = decoded.observations.append, head.d
    for row in rows:
        channel, metric, value = row.channel, row.metric, row.value
        if type(value) is float and metric in _MEASURED:
            number: float | None = value
        else:
            number = _number(channel, metric, value, decoded.flaws)
        if number is not None:
            at = None if time_us is None else time_us + row.dt * 1_000
            observe(_new(Observation, (device, channel, metric, number, at, flags)))
    for pack in packs:
        _unpack(pack, head.d, time_us, flags, decoded)
    decoded.key = f"{principal}|{head.boot}|{head.seq}" if head.boot else None
    return decoded


def _unpack(pack: Pack, device: str, time_us: int | None, flags: int, decoded: Decoded) -> None:
    if len(pack.dt) != len(pack.x):
        where = f"{pack.c} {pack.m}"
        decoded.flaws.append(Flaw(where, f"{len(pack.dt)} times for {len(pack.x)} values"))
        return
    for dt, value in zip(pack.dt, pack.x, strict=True):
        number = _number(pack.c, pack.m, value, decoded.flaws)
        if number is not None:
            at = None if time_us is None else time_us + dt * 1_000
            row = (device, pack.c, pack.m, number, at, flags)
            decoded.observations.append(_new(Observation, row))


def _number(channel: str, metric: str, value: Scalar, flaws: list[Flaw]) -> float | None:
    kind = type(value)
    known = CATALOGUE.get(metric)
    if known is None:
        flaws.append(Flaw(f"{channel} {metric}"[:120], "no such metric in the catalogue"))
    elif known.form == "state":
        number = state_number(known, value)
        if number is not None:
            return number
        flaws.append(
            Flaw(f"{channel} {metric}"[:120], f"{value!r} is none of: {', '.join(known.words)}")
        )
    elif kind is float or kind is int:
        return float(value)  # type: ignore[arg-type]  # narrowed by the identity of its type
    else:
        flaws.append(Flaw(f"{channel} {metric}"[:120], f"{value!r} is not a number"[:200]))
    return None


def _decode_loosely(payload: bytes, flaws: list[Flaw]) -> tuple[_Head, list[Row], list[Pack]]:
    loose = _loose_up.decode(payload)
    rows = [row for raw in loose.m if (row := _try(_row, raw, "m", flaws)) is not None]
    packs = [pack for raw in loose.p if (pack := _try(_pack, raw, "p", flaws)) is not None]
    return _Head(loose.v, loose.boot, loose.seq, loose.t, loose.d), rows, packs


T = TypeVar("T")


def _try(
    decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, where: str, flaws: list[Flaw]
) -> T | None:
    try:
        return decoder.decode(raw)
    except _HOSTILE as error:
        flaws.append(Flaw(where, f"{error}: {bytes(raw)[:80]!r}"))
        return None


def _decode_birth(principal: str, payload: bytes) -> Decoded:
    birth = _birth.decode(payload)
    _check_version(birth)
    time_us, _ = _time(birth.t)
    decoded = Decoded(principal, key=f"{principal}|{birth.boot}|{birth.seq}|birth")
    decoded.signals.append(Signal(birth.d, "online", "birth", time_us))
    channels = tuple(birth.channels[:MAX_OBSERVATIONS])
    decoded.descriptors.append(Descriptor(birth.d, birth.model, birth.fw, channels, birth.interval))
    for channel, metric, unit in channels:
        if metric not in CATALOGUE:
            decoded.flaws.append(Flaw(f"{channel} {metric}"[:120], "no such metric"))
        elif unit != CATALOGUE[metric].unit:
            right = CATALOGUE[metric].unit
            decoded.flaws.append(Flaw(f"{channel} {metric}"[:120], f"unit is {right}, not {unit}"))
    return decoded


def _decode_event(principal: str, payload: bytes) -> Decoded:
    event = _event.decode(payload)
    _check_version(event)
    if not event.kind or not event.id:
        raise RefusedError("an event needs a kind and an id of its own")
    time_us, _ = _time(event.t)
    decoded = Decoded(principal, key=f"{principal}|{event.boot}|{event.seq}|ev")
    data: dict[str, Json] = {}
    for word, raw in event.data.items():
        value: Json = msgspec.json.decode(raw)
        if _depth(value) > MAX_DEPTH:
            raise RefusedError(f"data nested deeper than {MAX_DEPTH} levels")
        data[word] = value
    decoded.sightings.append(
        Sighting(event.d, event.channel, event.kind, event.id, event.phase, time_us, data)
    )
    return decoded


def _depth(value: Json) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _decode_will(principal: str, payload: bytes) -> Decoded:
    will = _will.decode(payload)
    decoded = Decoded(principal)
    decoded.signals.append(Signal("", will.state, "will", None))
    return decoded


_DECODERS = {
    "up": _decode_up,
    "birth": _decode_birth,
    "ev": _decode_event,
    "will": _decode_will,
}


def encode_up(
    boot: str,
    seq: int,
    time_ms: int,
    rows: Sequence[tuple[str, str, Scalar] | tuple[str, str, Scalar, int]] = (),
    packs: Sequence[Pack] = (),
    device: str = "",
) -> bytes:
    """The payload of an `up`: rows `(channel, metric, value[, dt_ms])` and columnar packs."""
    body: dict[str, object] = {"v": 1, "boot": boot, "seq": seq, "t": time_ms}
    if device:
        body["d"] = device
    if rows:
        body["m"] = rows
    if packs:
        body["p"] = packs
    return msgspec.json.encode(body)


def encode_birth(
    boot: str,
    time_ms: int,
    channels: Sequence[tuple[str, str, str]],
    *,
    model: str = "",
    firmware: str = "",
    interval_s: float | None = None,
    device: str = "",
) -> bytes:
    """The payload of a `birth`, to be retained: channels as `(channel, metric, unit)`."""
    body: dict[str, object] = {"v": 1, "boot": boot, "seq": 0, "t": time_ms, "model": model}
    body |= {"fw": firmware, "interval": interval_s, "channels": channels}
    if device:
        body["d"] = device
    return msgspec.json.encode(body)


def encode_event(
    boot: str,
    seq: int,
    time_ms: int,
    *,
    id: str,
    kind: str,
    phase: Literal["start", "update", "end"],
    channel: str = "main",
    data: Mapping[str, Json] | None = None,
    device: str = "",
) -> bytes:
    """The payload of an `ev`."""
    body: dict[str, object] = {"v": 1, "boot": boot, "seq": seq, "t": time_ms, "id": id}
    body |= {"kind": kind, "channel": channel, "phase": phase, "data": dict(data or {})}
    if device:
        body["d"] = device
    return msgspec.json.encode(body)


def encode_will(boot: str, state: Literal["online", "offline", "asleep"]) -> bytes:
    """The payload of a `will`, to be retained: the broker sends it in the device's name."""
    return msgspec.json.encode({"boot": boot, "state": state})


DIALECT: Dialect = Native()
