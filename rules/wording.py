"""What people read of an alert: its message, its evidence, its episode."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np

from ingest.clock import US_PER_S, format_us
from ingest.inputs import Json
from ingest.metrics import CATALOGUE

_SHOWN = {
    "1": "",
    "Cel": "℃",
    "kW.h": "kWh",
    "V.A": "VA",
    "V.A{reactive}": "var",
    "V.A{distortion}": "VA",
    "m3": "m³",
    "m3/h": "m³/h",
    "[g]": "g",
    "{dBm}": "dBm",
    "/min": "r/min",
    "/s": "fps",
}


def episode_of(rule: str, site: str, device: str, channel: str, started_us: int) -> str:
    """The name of one alert from firing to resolved, the same wherever it is computed."""
    text = f"{rule}|{site}|{device}|{channel}|{format_us(started_us)}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def value_words(metric: str, value: float) -> str:
    """Four significant digits and the unit that people use; a state by its word; – for none."""
    known = CATALOGUE[metric]
    if math.isnan(value):
        return "–"
    if known.form == "state" and 0 <= value < len(known.words) and value == int(value):
        return known.words[int(value)]
    return number_words(value, known.unit)


def number_words(value: float, unit: str) -> str:
    shown = _SHOWN.get(unit, unit)
    gap = "" if shown in ("", "%") else " "
    return f"{_plain(value)}{gap}{shown}"


def local_words(time_us: int, zone: str) -> str:
    """Date and time to the minute on the site's clock."""
    moment = datetime.fromtimestamp(time_us // US_PER_S, _zone(zone))
    return f"{moment:%Y-%m-%d %H:%M}"


def rounded(value: Any) -> Json:
    """Floats to 6 significant digits, NaN and infinities as null, numpy's scalars as Python's,
    through lists and dicts."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, list):
        return [rounded(part) for part in value]
    if isinstance(value, dict):
        return {str(key): rounded(part) for key, part in value.items()}
    return cast(Json, value)


def _plain(value: float) -> str:
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{float(f'{value:.4g}'):.{min(digits, 12)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    return ZoneInfo(name) if name else UTC
