"""Recorded loads as 1-min means: chargers, appliances, a household."""

from __future__ import annotations

import csv
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.readings import Numbers

DAY_MINUTES = 1_440
_HELD_MINUTES = 10  # a plug that is silent longer than this is taken as unknown


@dataclass(frozen=True, slots=True)
class Charge:
    """One recorded charge: W at minutes 0, 1, … after plug-in, interpolated between polls."""

    plug: str
    kind: str  # complete, taper_only or cut
    power_w: Numbers


@dataclass(frozen=True, slots=True)
class Load:
    """An appliance's days: W a minute from a midnight on, NaN where nothing was recorded."""

    path: str
    cls: str
    battery: bool
    power_w: Numbers

    @property
    def days(self) -> int:
        return len(self.power_w) // DAY_MINUTES


@cache
def read_charges(data: Path) -> tuple[Charge, ...]:
    """The charges of `ebike_smartplug`; OSError if the folder is not there."""
    folder = data / "ebike_smartplug"
    readings = list(_rows(folder / "ebike_power.csv"))
    return tuple(_charge(entry, readings) for entry in _rows(folder / "charges.csv"))


def idle_plugs_w() -> tuple[float, ...]:
    """Standby of the recorded plugs with no battery or a full one (ebike_smartplug/README)."""
    return (0.0, 0.7, 15.5)


def _charge(entry: dict[str, str], readings: list[dict[str, str]]) -> Charge:
    mine = [
        row
        for row in readings
        if row["log"] == entry["log"]
        and row["plug"] == entry["plug"]
        and entry["first_reading"] <= row["time"] <= entry["last_reading"]
    ]
    at = np.array([_seconds(row["time"]) for row in mine])
    power = np.array([float(row["power_w"]) for row in mine])
    minutes = np.arange(0, (at[-1] - at[0]) // 60 + 1)
    return Charge(entry["plug"], entry["kind"], np.interp(minutes * 60.0, at - at[0], power))


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


@cache
def read_loads(data: Path) -> tuple[Load, ...]:
    """Every day of `tracebase_subset`, in the manifest's order."""
    folder = data / "tracebase_subset"
    return tuple(
        Load(
            row["path"],
            row["cls"],
            row["group"] == "battery",
            _tracebase_minutes(folder / (row["path"] + ".xz")),
        )
        for row in _rows(folder / "manifest.csv")
    )


def _tracebase_minutes(path: Path) -> Numbers:
    """`dd/mm/yyyy HH:MM:SS;W over 1 s;W over 8 s` to means by minute from the first midnight."""
    text = np.frombuffer(lzma.decompress(path.read_bytes()), np.uint8)
    separators = np.flatnonzero(text == ord(";"))
    first, second = separators[::2], separators[1::2]
    digit = {back: text[first - back].astype(np.int64) - ord("0") for back in _CLOCK_DIGITS}
    day, month, year, hour, minute = (_number_at(digit, *place) for place in _CLOCK)
    months = (year * 12 + month - (1970 * 12 + 1)).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64) + day
    at = (days - days.min()) * DAY_MINUTES + hour * 60 + minute
    power = _decimals(text, first + 1, second)
    length = (int(at.max()) // DAY_MINUTES + 1) * DAY_MINUTES
    count = np.bincount(at, minlength=length)
    total = np.bincount(at, power, length)
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return hold(means, _HELD_MINUTES)


# how far before the first `;` day, month, year, hour and minute begin, and how many digits
_CLOCK = ((19, 2), (16, 2), (13, 4), (8, 2), (5, 2))
_CLOCK_DIGITS = [back - digit for back, digits in _CLOCK for digit in range(digits)]


def _number_at(digit: dict[int, NDArray[np.int64]], back: int, digits: int) -> NDArray[np.int64]:
    value = np.zeros_like(digit[back])
    for place in range(digits):
        value = value * 10 + digit[back - place]
    return value


def _decimals(text: NDArray[np.uint8], begin: NDArray[np.intp], end: NDArray[np.intp]) -> Numbers:
    """Plain decimals between the positions; reading byte by byte is 10 x faster than by line."""
    value, scale = np.zeros(len(begin)), np.zeros(len(begin))
    for place in range(int((end - begin).max())):
        byte = text[np.minimum(begin + place, len(text) - 1)]
        inside = begin + place < end
        digit = inside & (byte != ord("."))
        value = np.where(digit, value * 10 + byte - float(ord("0")), value)
        scale += digit & (scale > 0)
        scale = np.where(inside & ~digit, 1, scale)
    return value / 10.0 ** np.maximum(scale - 1, 0)


def hold(means: Numbers, minutes: int) -> Numbers:
    """Fills gaps of at most `minutes` with the value before them."""
    at = np.arange(len(means))
    last = np.maximum.accumulate(np.where(np.isnan(means), -1, at))
    following = np.minimum.accumulate(np.where(np.isnan(means), len(means), at)[::-1])[::-1]
    short = np.isnan(means) & (last >= 0) & (following - last - 1 <= minutes)
    return np.where(short, means[np.maximum(last, 0)], means)


@cache
def read_household(data: Path) -> dict[str, Numbers]:
    """The 14 days of `uci_household_feb2007`, (14, 1440) W: `house`, `sockets_lights`."""
    (path,) = sorted((data / "uci_household_feb2007").glob("*.csv"))
    rows = list(_rows(path))
    house = np.array([1_000 * _number(row["global_active_power"]) for row in rows])
    metered = np.array(
        [60 * sum(_number(row[f"sub_metering_{n}"]) for n in (1, 2, 3)) for row in rows]
    )
    return {
        "house": house.reshape(-1, DAY_MINUTES),
        "sockets_lights": np.maximum(house - metered, 0).reshape(-1, DAY_MINUTES),
    }


def _number(text: str) -> float:
    return float(text) if text not in {"", "?"} else float("nan")
