"""State to bytes and back: a msgpack header, then raw arrays; versioned and checksummed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ingest.clock import US_PER_S
from ingest.document import DocumentError
from ingest.inputs import Control, Event, Presence
from ingest.readings import Readings, Series
from ingest.registry import Registry
from rules.engine import VERSION
from rules.instances import device_number, extend
from rules.kind import Columns
from rules.reload import Kept, keep, link, restore
from rules.rule import Rulebook
from rules.rulebook import load_rulebook
from rules.sightings import Sightings
from rules.state import Orphan, State, System

FORMAT = b"COURTYARD-RULES-1\n"
_SHA = hashlib.sha256().digest_size
_LENGTH = 8


class CheckpointError(Exception):
    """Bytes that are no whole checkpoint, or one that this program cannot read."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a checkpoint says of itself: after which batch it was made, and by what."""

    batch: int
    engine: int
    registry: str
    rulebook_sha256: str
    rulebook_file: str
    rulebook_text: str


class _Saved(msgspec.Struct):
    """The header. An int in place of a column is the number of its array."""

    label: Label
    grid_us: int
    types: dict[str, str]
    table: list[Series]
    series: dict[str, int]
    devices: list[tuple[str, str]]
    active: int
    heard_us: int
    rules: list[dict[str, Any]]
    waiting: dict[str, int]
    events: list[dict[str, Any]]
    presences: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    sightings: list[tuple[tuple[str, int], str, int, list[tuple[tuple[str, str, str], int]]]]
    system: dict[str, tuple[int, dict[str, Any]]]
    orphans: list[Orphan]
    arrays: list[tuple[str, tuple[int, ...]]]


_SERIES = ("time_us", "arrival_us", "value", "seen")
_READINGS = ("time_us", "arrival_us", "series", "value", "flags")


def dump(state: State, batch: int = 0) -> bytes:
    """The whole state, as it is after batch `batch` of the journal. The state stays as it was."""
    arrays: list[NDArray[Any]] = []

    def put(array: NDArray[Any]) -> int:
        arrays.append(np.ascontiguousarray(array))
        return len(arrays) - 1

    saved = _saved(state, batch, put)
    saved.arrays = [(array.dtype.str, array.shape) for array in arrays]
    header = msgspec.msgpack.encode(saved)
    body = b"".join(
        [len(header).to_bytes(_LENGTH, "little"), header, *(a.tobytes() for a in arrays)]
    )
    return FORMAT + hashlib.sha256(body).digest() + body


def label(data: bytes) -> Label:
    """What a checkpoint says of itself. Raises CheckpointError."""
    return _opened(data)[0].label


def load(data: bytes, rulebook: Rulebook | None, registry: Registry | None) -> State:
    """The state again, under the rulebook (None: the checkpoint's own) and registry of now. Rules
    of the same definition, devices and channels of the same names go on as they were; firing
    alerts that are nobody's any more resolve at the next grid point. Raises CheckpointError."""
    saved, arrays = _opened(data)
    if rulebook is None:
        rulebook = own_rulebook(saved.label)
    state = State(rulebook, registry, saved.types, saved.grid_us)
    _fill_columns(state, saved, arrays)
    for name in registry.devices if registry else ():
        number = device_number(state, state.site, name)
        state.devices.active[number] = True
    link(state, saved.grid_us)
    _fill_lists(state, saved, arrays)
    state.orphans += restore(state, [_kept(entry, saved.devices, arrays) for entry in saved.rules])
    state.due_us = saved.grid_us + US_PER_S
    return state


def own_rulebook(told: Label) -> Rulebook:
    """The rulebook that was in force. CheckpointError: its text is not valid any more."""
    try:
        return load_rulebook(told.rulebook_file, told.rulebook_text)
    except DocumentError as error:
        raise CheckpointError(f"the checkpoint's rulebook is not valid any more: {error}") from None


def _saved(state: State, batch: int, put: Any) -> _Saved:
    n, devices = len(state.table), state.devices
    book = state.rulebook
    version = state.registry.version if state.registry else ""
    return _Saved(
        label=Label(batch, VERSION, version, book.sha256, book.file, book.text),
        grid_us=state.grid_us,
        types=state.types,
        table=state.table,
        series={name: put(getattr(state.series, name)[:n]) for name in _SERIES},
        devices=devices.keys,
        active=put(devices.active[: len(devices.keys)]),
        heard_us=put(devices.heard_us[: len(devices.keys)]),
        rules=[_kept_saved(kept, put) for kept in keep(state)],
        waiting={name: put(getattr(state.waiting, name)) for name in _READINGS},
        events=[asdict(item) for item in state.queue if isinstance(item, Event)],
        presences=[asdict(item) for item in state.queue if isinstance(item, Presence)],
        controls=[asdict(item) for item in state.queue if isinstance(item, Control)],
        sightings=[
            (place, kind, state.sightings.since_us[place, kind], list(seen.items()))
            for (place, kind), seen in state.sightings.open.items()
        ],
        system={code: (one.started_us, dict(one.body)) for code, one in state.system.items()},
        orphans=state.orphans,
        arrays=[],
    )


def _kept_saved(kept: Kept, put: Any) -> dict[str, Any]:
    return {
        "rule": kept.rule,
        "definition": kept.definition,
        "severity": kept.severity,
        "audience": kept.audience,
        "device": put(kept.device),
        "channels": kept.channels,
        "known_us": put(kept.known_us),
        "life": {name: put(column) for name, column in kept.life.items()},
        "memories": [{name: put(c) for name, c in memory.items()} for memory in kept.memories],
    }


def _kept(
    entry: Mapping[str, Any], devices: list[tuple[str, str]], arrays: list[NDArray[Any]]
) -> Kept:
    return Kept(
        entry["rule"],
        entry["definition"],
        entry["severity"],
        entry["audience"],
        devices,
        arrays[entry["device"]],
        list(entry["channels"]),
        arrays[entry["known_us"]],
        _columns(entry["life"], arrays),
        [_columns(memory, arrays) for memory in entry["memories"]],
    )


def _columns(names: Mapping[str, int], arrays: list[NDArray[Any]]) -> Columns:
    return {name: arrays[number] for name, number in names.items()}


def _opened(data: bytes) -> tuple[_Saved, list[NDArray[Any]]]:
    if not data.startswith(FORMAT):
        raise CheckpointError(f"not a checkpoint: it does not begin with {FORMAT!r}")
    sum_end = len(FORMAT) + _SHA
    body = data[sum_end:]
    if hashlib.sha256(body).digest() != data[len(FORMAT) : sum_end]:
        raise CheckpointError("damaged: its checksum does not match, so nothing of it is used")
    end = _LENGTH + int.from_bytes(body[:_LENGTH], "little")
    try:
        saved = msgspec.msgpack.decode(body[_LENGTH:end], type=_Saved)
    except msgspec.DecodeError as error:
        raise CheckpointError(f"written by another version: {error}") from None
    return saved, _arrays(saved, body, end)


def _arrays(saved: _Saved, body: bytes, at: int) -> list[NDArray[Any]]:
    arrays = []
    for word, shape in saved.arrays:
        dtype = np.dtype(word)
        count = int(np.prod(shape, dtype=np.int64))
        arrays.append(np.frombuffer(body, dtype, count, at).reshape(shape).copy())
        at += count * dtype.itemsize
    return arrays


def _fill_columns(state: State, saved: _Saved, arrays: list[NDArray[Any]]) -> None:
    for site, name in saved.devices:
        device_number(state, site, name)
    n = len(saved.devices)
    state.devices.active[:n] = arrays[saved.active]
    state.devices.heard_us[:n] = arrays[saved.heard_us]
    extend(state, saved.table)
    for name, number in saved.series.items():
        getattr(state.series, name)[: len(saved.table)] = arrays[number]
    for number in np.flatnonzero(arrays[saved.series["seen"]]).tolist():
        series = saved.table[number]
        channels = state.devices.channels[int(state.series.device[number])]
        channels.setdefault(series.channel, {})[series.metric] = number


def _fill_lists(state: State, saved: _Saved, arrays: list[NDArray[Any]]) -> None:
    state.waiting = Readings(*(arrays[saved.waiting[name]] for name in _READINGS))
    state.queue = [
        *(Event(**entry) for entry in saved.events),
        *(Presence(**entry) for entry in saved.presences),
        *(Control(**entry) for entry in saved.controls),
    ]
    state.sightings = Sightings(
        {(place, kind): dict(seen) for place, kind, _, seen in saved.sightings},
        {(place, kind): since for place, kind, since, _ in saved.sightings},
    )
    state.system = {code: System(*one) for code, one in saved.system.items()}
    state.orphans = list(saved.orphans)
