"""A community that does not exist: all its devices' messages, in the order of time."""

from __future__ import annotations

import heapq
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ingest.clock import US_PER_S
from ingest.dialects.native import Scalar, encode_birth, encode_event, encode_up, encode_will
from ingest.metrics import CATALOGUE
from ingest.registry import Device, Registry
from simulators.faults import Fault, Truth
from simulators.message import Message, topic
from simulators.model import Column, Frame, Levers, Model, Occurrence, Surroundings, model_of

WINDOW_US = 60 * US_PER_S
KEEPALIVE_S = 60
RELEASE_US = 20_000  # between two messages of a backfill

Rows = list[tuple[str, str, Scalar]]


@dataclass(slots=True)
class _Group:
    """The devices of one type: their model, their pace, and when within it each speaks."""

    type: str
    devices: list[Device]
    model: Model
    step_us: int
    every: list[int]  # a device reports at each such step
    offset_us: list[int]
    next_us: int
    steps: int = 0
    rest: Levers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Draft:
    """What a device is about to say, not yet numbered: rows of an `up`, or an event."""

    time_us: int
    device: Device
    said: Rows | Occurrence


class Fleet:
    """All devices of a registry, simulated from `start_us` on. The same arguments give the same
    bytes. `dirty` is the share of stairwell circuits that carry a long benign load."""

    def __init__(
        self,
        registry: Registry,
        *,
        seed: int,
        start_us: int,
        faults: Sequence[Fault] = (),
        dirty: float = 0.0,
    ) -> None:
        self.registry = registry
        self.start_us = start_us
        self.faults = tuple(faults)
        # a run that begins at another time is another boot: its numbers start anew
        self.boot = f"{start_us // 1_000:x}"
        self._seed = seed
        self._seq: dict[str, int] = defaultdict(int)
        self._late: list[tuple[int, int, Message]] = []
        self._count = 0
        self._swapped: dict[str, Message] = {}
        self._held: dict[str, int] = defaultdict(int)
        self._wires = _by_voice(registry, self.faults)
        around = Surroundings(registry, seed, dirty)
        self._groups = [self._group(word, around) for word in _types(registry)]

    @property
    def truth(self) -> tuple[Truth, ...]:
        return tuple(fault.truth for fault in self.faults)

    def messages(self, until_us: int | None = None) -> Iterator[Message]:
        """Births and presence first, then what is said up to `until_us` (for ever, if None). To be
        asked for once."""
        drafts: list[_Draft] = []
        for message in _presence(self.faults, self.registry, self.boot, self.start_us):
            self._put(message)
        window_us = self.start_us
        while until_us is None or window_us < until_us:
            end_us = (
                window_us + WINDOW_US if until_us is None else min(window_us + WINDOW_US, until_us)
            )
            for group in self._groups:
                drafts += self._advance(group, end_us)
            drafts.sort(key=lambda draft: draft.time_us)
            ready = [draft for draft in drafts if draft.time_us < end_us]
            drafts = drafts[len(ready) :]
            for draft in ready:
                yield from self._due(draft.time_us)
                yield from self._send(draft)
            yield from self._due(end_us)
            window_us = end_us

    def _group(self, word: str, around: Surroundings) -> _Group:
        devices = [device for device in self.registry.devices.values() if device.type == word]
        paces = [round((d.interval_s or d.kind.interval_s) * US_PER_S) for d in devices]
        step_us = min(paces)
        rng = around.rng(f"{word} pace")
        offsets = [
            int(part * pace * 0.9)
            for part, pace in zip(rng.random(len(devices)), paces, strict=True)
        ]
        model = model_of(word)(devices, around)
        every = [max(1, round(pace / step_us)) for pace in paces]
        group = _Group(word, devices, model, step_us, every, offsets, self.start_us)
        group.rest = {name: lever.copy() for name, lever in model.levers.items()}
        self._warm_up(group)
        return group

    def _warm_up(self, group: _Group) -> None:
        coarse_us = max(group.step_us, min(300 * US_PER_S, int(group.model.warm_up_s * US_PER_S)))
        if group.type == "pump":
            coarse_us = group.step_us  # controllers do not bear long steps
        steps = int(group.model.warm_up_s * US_PER_S) // coarse_us
        for step in range(steps, 0, -1):
            group.model.step(self.start_us - step * coarse_us, coarse_us / US_PER_S)

    def _advance(self, group: _Group, end_us: int) -> Iterator[_Draft]:
        while group.next_us < end_us:
            now_us = group.next_us
            self._hold_levers(group, now_us)
            frame = group.model.step(now_us, group.step_us / US_PER_S)
            if group.steps == 0:
                for message in self._births(group, frame):
                    self._put(message)
            yield from self._drafts(group, frame, now_us)
            group.steps += 1
            group.next_us += group.step_us

    def _hold_levers(self, group: _Group, now_us: int) -> None:
        """Sets every lever to its rest, then to what the faults of this moment ask for."""
        if not self.faults:
            return
        for name, rest in group.rest.items():
            group.model.levers[name][...] = rest
        rows = {device.id: row for row, device in enumerate(group.devices)}
        for fault in self.faults:
            if fault.active(now_us):
                self._hold(group, fault, rows, now_us)

    def _hold(self, group: _Group, fault: Fault, rows: dict[str, int], now_us: int) -> None:
        if fault.device in rows:
            row = rows[fault.device]
            for name, value in fault.kind.levers.items():
                lever, rest = group.model.levers[name], group.rest[name]
                place: tuple[int, ...] = (row,)
                if fault.kind.socket:
                    place = (row, _socket(fault, lever.shape[1], self._seed))
                lever[place] = rest[place] + fault.strength(now_us) * (value - rest[place])
        if fault.witness in rows:
            for name in ("ebike", "cable_hanging"):
                group.model.levers[name][rows[fault.witness]] = 1.0

    def _drafts(self, group: _Group, frame: Frame, now_us: int) -> Iterator[_Draft]:
        columns = [_said(column) for column in frame.columns]
        for row, device in enumerate(group.devices):
            if group.steps % group.every[row]:
                continue
            rows: Rows = [
                (channel, metric, values[row])
                for channel, metric, values, said in columns
                if said is None or said[row]
            ]
            if rows:
                yield _Draft(now_us + group.offset_us[row], device, rows)
        for event in frame.occurrences:
            yield _Draft(now_us + event.after_us, group.devices[event.row], event)

    def _births(self, group: _Group, frame: Frame) -> Iterator[Message]:
        for row, device in enumerate(group.devices):
            channels = [
                (column.channel, column.metric, CATALOGUE[column.metric].unit)
                for column in frame.columns
                if column.fitted is None or column.fitted[row]
            ]
            own = device.principal == device.id
            payload = encode_birth(
                self.boot,
                self.start_us // 1_000,
                channels,
                model=f"simulated {device.type}",
                firmware="1",
                interval_s=group.every[row] * group.step_us / US_PER_S,
                device="" if own else device.id,
            )
            # the broker keeps one message a topic: that of the principal itself
            yield Message(self.start_us, topic(device.principal, "birth"), payload, retain=own)

    def _send(self, draft: _Draft) -> Iterator[Message]:
        """Numbers and encodes a draft, and lets the wire's faults have it."""
        device, now_us = draft.device, draft.time_us
        wires = [f for f in self._wires.get(device.id, ()) if f.active(now_us)]
        words = {fault.kind.wire for fault in wires}
        if "silent" in words:
            return
        message = self._encode(draft, unset_clock="unset_clock" in words)
        if "nan" in words:
            message = Message(now_us, message.topic, _spoil(message.payload))
        for fault in wires:
            if fault.kind.wire == "backfill":
                at_us = fault.end_us + RELEASE_US * self._held[device.id]
                self._held[device.id] += 1
                self._put(Message(at_us, message.topic, message.payload))
                return
        if "disorder" in words:
            yield from self._swap(device.id, message)
            return
        if device.id in self._swapped:
            yield self._swapped.pop(device.id).at(now_us)
        yield message
        if "duplicate" in words:
            yield message

    def _encode(self, draft: _Draft, unset_clock: bool) -> Message:
        device, now_us = draft.device, draft.time_us
        seq = self._seq[device.principal] = self._seq[device.principal] + 1
        # a clock that was never set counts from 1970 when the device is switched on
        time_ms = (now_us - self.start_us if unset_clock else now_us) // 1_000
        said = "" if device.principal == device.id else device.id
        if isinstance(draft.said, Occurrence):
            event = draft.said
            payload = encode_event(
                self.boot,
                seq,
                time_ms,
                id=event.id,
                kind=event.kind,
                phase=event.phase,
                channel=event.channel,
                data=event.data,
                device=said,
            )
            return Message(now_us, topic(device.principal, "ev"), payload)
        payload = encode_up(self.boot, seq, time_ms, draft.said, device=said)
        return Message(now_us, topic(device.principal, "up"), payload)

    def _swap(self, device: str, message: Message) -> Iterator[Message]:
        earlier = self._swapped.pop(device, None)
        if earlier is None:
            self._swapped[device] = message
            return
        yield message
        yield earlier.at(message.time_us)

    def _put(self, message: Message) -> None:
        heapq.heappush(self._late, (message.time_us, self._count, message))
        self._count += 1

    def _due(self, now_us: int) -> Iterator[Message]:
        while self._late and self._late[0][0] <= now_us:
            yield heapq.heappop(self._late)[2]


def _types(registry: Registry) -> list[str]:
    return sorted({device.type for device in registry.devices.values()})


def _said(column: Column) -> tuple[str, str, list[Scalar], list[bool] | None]:
    """A column as plain values, states by their word."""
    metric = CATALOGUE[column.metric]
    values: list[Scalar] = column.value.tolist()
    if metric.form == "state":
        values = [metric.words[int(number)] for number in column.value]
    said = column.said
    if column.fitted is not None:
        said = column.fitted if said is None else said & column.fitted
    return column.channel, column.metric, values, None if said is None else said.tolist()


def _socket(fault: Fault, sockets: int, seed: int) -> int:
    """The socket that a fault befalls: another for another device, time or seed."""
    return zlib.crc32(f"{seed}|{fault.device}|{fault.start_us}".encode()) % sockets


def _by_voice(registry: Registry, faults: Sequence[Fault]) -> dict[str, list[Fault]]:
    """The wire faults of each device: its own, and those of the principal that speaks for it."""
    found: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        if fault.kind.wire is None:
            continue
        for device in registry.devices.values():
            shared = fault.kind.wire == "silent" and device.principal == fault.device
            if device.id == fault.device or shared:
                found[device.id].append(fault)
    return dict(found)


def _presence(
    faults: Sequence[Fault], registry: Registry, boot: str, start_us: int
) -> Iterator[Message]:
    """All principals come; the broker says who fell silent, and they themselves when back."""
    for name in registry.principals:
        yield Message(start_us, topic(name, "will"), encode_will(boot, "online"), retain=True)
    for fault in faults:
        if fault.kind.wire == "silent" and fault.device in registry.principals:
            gone_us = fault.start_us + int(1.5 * KEEPALIVE_S * US_PER_S)
            where = topic(fault.device, "will")
            if gone_us < fault.end_us:
                yield Message(gone_us, where, encode_will(boot, "offline"), retain=True)
                yield Message(fault.end_us, where, encode_will(boot, "online"), retain=True)


_LAST_NUMBER = re.compile(rb",-?[0-9.e+-]+\]\]")


def _spoil(payload: bytes) -> bytes:
    """The payload with NaN as its last number, as a careless printf writes it."""
    return _LAST_NUMBER.sub(b",NaN]]", payload, count=1)
