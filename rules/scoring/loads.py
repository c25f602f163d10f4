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
    text = lzma.decompress(path.read_bytes()).decode("ascii")
    flat = np.fromstring(text.translate(str.maketrans("/:;", "   ")), sep=" ")
    table = flat.reshape(-1, 8)
    days = _days(table[:, 0], table[:, 1], table[:, 2])
    clock = table[:, 3] * 60 + table[:, 4]
    minute = ((days - days.min()) * DAY_MINUTES + clock).astype(np.int64)
    length = (int(minute.max()) // DAY_MINUTES + 1) * DAY_MINUTES
    total = np.bincount(minute, table[:, 6], length)
    count = np.bincount(minute, minlength=length)
    means = np.full(length, np.nan)
    means[count > 0] = total[count > 0] / count[count > 0]
    return hold(means, _HELD_MINUTES)


def _days(day: Numbers, month: Numbers, year: Numbers) -> Numbers:
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    return np.asarray(months.astype("datetime64[D]").astype(np.int64) + day - 1, np.float64)


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
