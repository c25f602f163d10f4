"""`courtyard decode`: recorded messages in, what they say out, one line for a line."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import IO, Any, cast

import msgspec
import numpy as np

from ingest.clock import format_us, parse_us
from ingest.dialect import Decoded, Dialect, Flaw, Inbound, Observation, RefusedError, State
from ingest.metrics import CATALOGUE
from ingest.readings import Flag, flag_words
from ingest.registry import Registry
from ingest.shelf import from_shelf
from ingest.timestamps import NO_TIME, judge


def decode_lines(lines: IO[bytes], dialect_word: str, registry: Registry | None) -> Iterator[bytes]:
    """One JSON object for every line that is not blank. LookupError: no such dialect."""
    dialect = cast(Dialect, from_shelf("ingest.dialects", dialect_word, "DIALECT"))
    states: dict[str, State] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            answer = _answer(dialect, line, states, registry)
        except RefusedError as refusal:
            answer = {"error": str(refusal)}
        yield msgspec.json.encode({"line": number, **answer})


def _answer(
    dialect: Dialect, line: bytes, states: dict[str, State], registry: Registry | None
) -> dict[str, Any]:
    message, arrived = _message(line)
    decoded = dialect.decode(message, states.setdefault(message.topic.split("/")[0], {}))
    said = {entry.device for entry in decoded.observations}
    names = {device: _name(decoded.principal, device, registry) for device in said}
    flaws = list(decoded.flaws)
    answer: dict[str, Any] = {
        "observations": [
            _told(names[entry.device], entry, message, arrived)
            for entry in decoded.observations
            if _plausible(entry, flaws)
        ],
        "presence": [
            {
                "device": _name(decoded.principal, signal.device, registry),
                "state": signal.state,
                "source": signal.source,
                "time": _time(signal.time_us, message, arrived),
            }
            for signal in decoded.signals
        ],
        "events": _events(decoded, message, arrived, registry),
    }
    if flaws:
        answer["flaws"] = [{"where": flaw.where, "reason": flaw.reason} for flaw in flaws]
    return answer


def _events(
    decoded: Decoded, message: Inbound, arrived: bool, registry: Registry | None
) -> list[dict[str, Any]]:
    return [
        {
            "device": _name(decoded.principal, sighting.device, registry),
            "channel": sighting.channel,
            "kind": sighting.kind,
            "id": sighting.id,
            "phase": sighting.phase,
            "time": _time(sighting.time_us, message, arrived),
            "data": sighting.data,
        }
        for sighting in decoded.sightings
    ]


def _message(line: bytes) -> tuple[Inbound, bool]:
    """The message of a line, and whether the line says when it arrived."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"the line is not JSON: {error}") from None
    if not isinstance(entry, dict):
        raise RefusedError("the line is not a JSON object")
    topic = entry.get("topic")
    if not isinstance(topic, str):
        raise RefusedError("the line has no topic")
    arrived_at = entry.get("arrived_at")
    try:
        arrival_us = 0 if arrived_at is None else parse_us(str(arrived_at))
    except ValueError as error:
        raise RefusedError(f"arrived_at is no ISO 8601 time: {error}") from None
    retain = bool(entry.get("retain", False))
    qos = entry.get("qos")
    return Inbound(
        topic, _payload(entry), arrival_us, retain, qos=qos if isinstance(qos, int) else 1
    ), arrived_at is not None


def _payload(entry: dict[str, Any]) -> bytes:
    text, encoded = entry.get("payload"), entry.get("payload_b64")
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RefusedError(f"payload_b64 is not base64: {error}") from None
    raise RefusedError("the line has neither payload (text) nor payload_b64")


def _name(principal: str, said: str, registry: Registry | None) -> str:
    """The device's name: the registry's, or without one what the device calls itself."""
    if registry is None:
        return said or principal
    device = registry.speaks_for(principal, said)
    if device is None:
        raise RefusedError(f"{principal!r} may not speak for {said or principal!r}")
    return device.id


def _plausible(entry: Observation, flaws: list[Flaw]) -> bool:
    known = CATALOGUE[entry.metric]
    if known.low <= entry.value <= known.high:
        return True
    where = f"{entry.channel} {entry.metric}"
    flaws.append(Flaw(where, f"{entry.value:g} is outside {known.low:g} to {known.high:g}"))
    return False


def _told(device: str, entry: Observation, message: Inbound, arrived: bool) -> dict[str, Any]:
    known = CATALOGUE[entry.metric]
    time_us, flags = _judged(entry.time_us, entry.flags, message, arrived)
    return {
        "device": device,
        "channel": entry.channel,
        "metric": entry.metric,
        "value": known.words[int(entry.value)] if known.form == "state" else entry.value,
        "unit": known.unit,
        "time": None if time_us is None else format_us(time_us),
        "flags": flag_words(flags),
    }


def _time(time_us: int | None, message: Inbound, arrived: bool) -> str | None:
    judged_us, _ = _judged(time_us, 0, message, arrived)
    return None if judged_us is None else format_us(judged_us)


def _judged(
    time_us: int | None, flags: int, message: Inbound, arrived: bool
) -> tuple[int | None, int]:
    """The time policy; without a time of arrival, only what needs none of it."""
    if message.retain:
        flags |= Flag.RETAINED
    device_us = np.array([NO_TIME if time_us is None else time_us], np.int64)
    base_us = np.array([message.arrival_us if arrived else max(time_us or 0, 0)], np.int64)
    judged = judge(device_us, base_us, np.array([flags], np.uint16))
    kept = arrived or (time_us is not None and not judged.flags[0] & Flag.TS_UNSET)
    return (int(judged.time_us[0]) if kept else None), int(judged.flags[0])
