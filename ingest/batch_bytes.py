"""A batch as the bytes that a journal keeps, and back."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from ingest.changes import Change
from ingest.inputs import Control, Event, Inputs, Presence
from ingest.journal import Print
from ingest.readings import Readings

RAW, DEFLATED = b"\0", b"\1"
WORTH_DEFLATING = 512
"""Bytes. Measured on 5,000 readings: 150 kB become 31 kB in 0.9 ms, most of it without the GIL;
the disk takes longer than that to write what is saved."""

SHA_BYTES = 16


class BatchBytes(NamedTuple):
    """The parts of a batch that are bytes; an empty part is b""."""

    readings: bytes
    others: bytes
    changes: bytes
    prints: bytes


def encode_readings(readings: Readings) -> bytes:
    """Columns one after the other, little-endian; times as differences, so that they deflate."""
    if not len(readings):
        return b""
    raw = b"".join(
        (
            np.diff(readings.time_us, prepend=np.int64(0)).astype("<i8").tobytes(),
            np.diff(readings.arrival_us, prepend=np.int64(0)).astype("<i8").tobytes(),
            readings.series.astype("<i4").tobytes(),
            readings.value.astype("<f8").tobytes(),
            readings.flags.astype("<u2").tobytes(),
        )
    )
    return DEFLATED + zlib.compress(raw, 1) if len(raw) > WORTH_DEFLATING else RAW + raw


_ROW_BYTES = 8 + 8 + 4 + 8 + 2


def decode_readings(data: bytes) -> Readings:
    if not data:
        return Readings.empty()
    raw = zlib.decompress(data[1:]) if data[:1] == DEFLATED else data[1:]
    n = len(raw) // _ROW_BYTES
    time, arrival, series, value = 0, 8 * n, 16 * n, 20 * n
    return Readings(
        np.cumsum(np.frombuffer(raw, "<i8", n, time)),
        np.cumsum(np.frombuffer(raw, "<i8", n, arrival)),
        np.frombuffer(raw, "<i4", n, series).astype(np.int32),
        np.frombuffer(raw, "<f8", n, value).astype(np.float64),
        np.frombuffer(raw, "<u2", n, 28 * n).astype(np.uint16),
    )


def encode_prints(prints: Sequence[Print]) -> bytes:
    """Columns: epochs, message ids, hashes of 16 bytes."""
    if not prints:
        return b""
    epochs, mids, shas = zip(*prints, strict=True)
    return b"".join(
        (
            np.asarray(epochs, "<u4").tobytes(),
            np.asarray(mids, "<u2").tobytes(),
            *(sha.ljust(SHA_BYTES, b"\0") for sha in shas),
        )
    )


def decode_prints(data: bytes) -> tuple[Print, ...]:
    n = len(data) // (4 + 2 + SHA_BYTES)
    epochs = np.frombuffer(data, "<u4", n).tolist()
    mids = np.frombuffer(data, "<u2", n, 4 * n).tolist()
    shas = (data[6 * n + SHA_BYTES * row : 6 * n + SHA_BYTES * (row + 1)] for row in range(n))
    return tuple(map(Print, epochs, mids, shas))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be kept in the journal")


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)


def encode_changes(changes: Sequence[Change]) -> bytes:
    return _encoder.encode(changes) if changes else b""


def encode_change(change: Change) -> bytes:
    return _encoder.encode(change)


def decode_change(data: bytes) -> Change:
    return Change(**msgspec.msgpack.decode(data))


def decode_changes(data: bytes) -> tuple[Change, ...]:
    return _made(Change, msgspec.msgpack.decode(data)) if data else ()


def encode_others(inputs: Inputs) -> bytes:
    """Events, presences and control records."""
    others = (inputs.events, inputs.presences, inputs.controls)
    return _encoder.encode(others) if any(others) else b""


def decode_others(
    data: bytes,
) -> tuple[tuple[Event, ...], tuple[Presence, ...], tuple[Control, ...]]:
    if not data:
        return (), (), ()
    events, presences, controls = msgspec.msgpack.decode(data)
    return _made(Event, events), _made(Presence, presences), _made(Control, controls)


def encode(inputs: Inputs, changes: Sequence[Change], prints: Sequence[Print]) -> BatchBytes:
    """Raises ValueError, naming the value, for what has no bytes (an integer beyond 64 bits, …)."""
    try:
        return BatchBytes(
            encode_readings(inputs.readings),
            encode_others(inputs),
            encode_changes(changes),
            encode_prints(prints),
        )
    except (OverflowError, TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"a batch holds what the journal has no bytes for: {error}") from error


def has_bytes(data: Mapping[str, Any]) -> bool:
    """Whether `encode` would take this as an event's data."""
    try:
        _encoder.encode(data)
    except (OverflowError, TypeError, UnicodeEncodeError, RecursionError):
        return False
    return True


T = TypeVar("T")


def _made(kind: type[T], rows: Iterable[Mapping[str, Any]]) -> tuple[T, ...]:
    return tuple(kind(**row) for row in rows)
