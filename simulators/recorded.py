"""Replays real recordings as devices: a pump loop, and e-bike charges on a house's circuit."""

from __future__ import annotations

import csv
import lzma
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.clock import US_PER_S, format_us, parse_us
from ingest.dialects.native import Scalar, encode_birth, encode_up, encode_will
from ingest.metrics import CATALOGUE
from ingest.readings import Numbers, Times
from ingest.registry import Registry, device_type
from simulators.faults import Truth
from simulators.message import Message, topic

MINUTES = 1_440
LEVELS = (1.0, 2.0, 3.5)
"""What a recorded 2 A charger is multiplied by, to stand for larger ones (an assumption)."""

JITTER_W = 1.5
CHARGE_NOISE = 0.01


@dataclass(frozen=True, slots=True)
class Span:
    """A labelled stretch, in µs from the recording's first row; `fault` as in a truth file."""

    fault: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Recording:
    """One device's recording: `time_us` (n,) from its first row, `value` (n, m) in the catalogue's
    units, NaN where nothing was recorded; `channels` (m,) as (channel, metric)."""

    device: str
    type: str
    source: str
    channels: tuple[tuple[str, str], ...]
    time_us: Times
    value: Numbers
    spans: tuple[Span, ...] = ()

    @property
    def readings(self) -> int:
        """How many readings must arrive in history."""
        return int(np.isfinite(self.value).sum())

    def truth(self, start_us: int) -> tuple[Truth, ...]:
        """The labels, once the first row is shifted to `start_us`."""
        return tuple(
            Truth(
                self.device,
                span.fault,
                format_us(start_us + span.start_us),
                format_us(start_us + span.end_us),
            )
            for span in self.spans
        )


class RecordingError(Exception):
    """A recording that is not there or not what it should be; names the file and what is wrong."""


# --- the pump loop -------------------------------------------------------------------------------

_BAR_KPA, _LITRE_A_MIN_M3H = 100.0, 0.06

SKAB_COLUMNS: dict[str, tuple[str, str, float]] = {
    "Accelerometer1RMS": ("bearing.1", "vibration.acceleration.rms", 1.0),
    "Accelerometer2RMS": ("bearing.2", "vibration.acceleration.rms", 1.0),
    "Current": ("main", "current", 1.0),
    "Pressure": ("main", "pressure", _BAR_KPA),
    "Temperature": ("main", "temperature", 1.0),
    "Thermocouple": ("fluid", "temperature", 1.0),
    "Voltage": ("main", "voltage", 1.0),
    "Volume Flow RateRMS": ("main", "flow", _LITRE_A_MIN_M3H),
}
"""Column of a SKAB file → channel, metric, and what its unit (g, A, bar, Cel, V, l/min) is
multiplied by to be the catalogue's."""


def skab_files(data: Path) -> list[Path]:
    """All recordings of the set under `data`/skab, the fault-free one last."""
    files = sorted((data / "skab").glob("*/*.csv"), key=_experiment)
    if not files:
        raise RecordingError(f"no recordings in {data / 'skab'}; it holds folders of .csv")
    return files


def pump_recording(file: Path) -> Recording:
    """A SKAB file as the pump `pump-FOLDER-NUMBER`, its labelled rows as spans."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))
    lacking = [name for name in ("datetime", *SKAB_COLUMNS) if not rows or name not in rows[0]]
    if lacking:
        raise RecordingError(f"{file} lacks the columns {', '.join(lacking)}")
    time_us = np.asarray([_utc_us(row["datetime"]) for row in rows], np.int64)
    factors = np.asarray([factor for _, _, factor in SKAB_COLUMNS.values()])
    value = np.asarray([[float(row[name]) for name in SKAB_COLUMNS] for row in rows])
    word = f"{file.parent.name}-{file.stem}" if file.stem != file.parent.name else file.stem
    labels = np.asarray([float(row.get("anomaly") or 0) > 0 for row in rows])
    spans = _spans(time_us - time_us[0], labels, f"skab_{word}")
    channels = tuple((channel, metric) for channel, metric, _ in SKAB_COLUMNS.values())
    relative = time_us - time_us[0]
    return Recording(f"pump-{word}", "pump", str(file), channels, relative, value * factors, spans)


def pump_recordings(data: Path) -> list[Recording]:
    """The whole set, each file as a pump of its own."""
    return [pump_recording(file) for file in skab_files(data)]


def _experiment(file: Path) -> tuple[bool, str, int, str]:
    number = int(file.stem) if file.stem.isdecimal() else 0
    return file.parent.name == "anomaly-free", file.parent.name, number, file.stem


def _spans(
    time_us: Times, labels: np.ndarray[tuple[int], np.dtype[np.bool_]], fault: str
) -> tuple[Span, ...]:
    """Maximal runs of labelled rows; a run ends where the next row begins."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], labels, [False]]).astype(np.int8)))
    ends = np.append(time_us, time_us[-1] + US_PER_S)
    pairs = edges.reshape(-1, 2)
    return tuple(Span(fault, int(ends[a]), int(ends[b])) for a, b in pairs)


def _utc_us(text: str) -> int:
    return parse_us(text)  # the recordings name no zone: taken as UTC


# --- charges on a circuit ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Charge:
    """A recorded charge: `minute` (n,) since it began, `power_w` (n,) as polled."""

    word: str
    kind: str
    minute: Numbers
    power_w: Numbers

    @property
    def minutes(self) -> int:
        return int(self.minute[-1]) + 1

    def on_grid(self) -> Numbers:
        """W at each whole minute, interpolated between the polls."""
        return np.asarray(np.interp(np.arange(self.minutes), self.minute, self.power_w))


def read_charges(data: Path) -> list[Charge]:
    """The charges that `data`/ebike_smartplug/charges.csv lists."""
    folder = data / "ebike_smartplug"
    polls: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for row in _table(folder / "ebike_power.csv"):
        polls[row["log"], row["plug"]].append((row["time"], float(row["power_w"])))
    charges = []
    for row in _table(folder / "charges.csv"):
        first, last = row["first_reading"], row["last_reading"]
        part = [poll for poll in polls[row["log"], row["plug"]] if first <= poll[0] <= last]
        if len(part) != int(row["readings"]):
            raise RecordingError(f"{folder}: {row['plug']} has {len(part)} of its readings")
        minute = np.asarray([(_utc_us(time) - _utc_us(first)) / 60e6 for time, _ in part])
        power_w = np.asarray([watt for _, watt in part])
        charges.append(Charge(row["plug"], row["kind"], minute, power_w))
    return charges


def read_household(data: Path) -> dict[str, Numbers]:
    """W per minute, (days, 1440), NaN where nothing was recorded: the whole `house`, and its
    `sockets` and lights alone."""
    folder = data / "uci_household_feb2007"
    rows = list(_table(folder / "household_power_consumption.csv"))
    if not rows or len(rows) % MINUTES:
        raise RecordingError(f"{folder}: {len(rows)} rows are no whole days of {MINUTES}")
    house = np.asarray([1_000 * _number(row["global_active_power"]) for row in rows])
    names = ("sub_metering_1", "sub_metering_2", "sub_metering_3")
    metered = np.asarray([60 * sum(_number(row[name]) for name in names) for row in rows])
    shape = (-1, MINUTES)
    sockets = np.maximum(0, house - metered)  # the submeters count in whole Wh
    return {"house": house.reshape(shape), "sockets": sockets.reshape(shape)}


def read_laptops(data: Path) -> list[Numbers]:
    """W per minute (1440,) of each recorded laptop day, 0 where the plug said nothing."""
    folder = data / "tracebase_subset"
    files = sorted([*folder.glob("*/PC-Laptop/*.csv.xz"), *folder.glob("*/MacBook*/*.csv.xz")])
    if not files:
        raise RecordingError(f"no laptop days in {folder}")
    return [_laptop_day(file) for file in files]


def _laptop_day(file: Path) -> Numbers:
    total, count = np.zeros(MINUTES), np.zeros(MINUTES)
    first = ""
    with lzma.open(file, "rt", encoding="ascii") as lines:
        for line in lines:
            moment, watt, _ = line.split(";")
            date, clock = moment.split(" ")
            first = first or date
            if date == first:
                minute = int(clock[:2]) * 60 + int(clock[3:5])
                total[minute] += float(watt)
                count[minute] += 1
    return total / np.maximum(count, 1)


def circuit_recordings(
    data: Path, *, seed: int, count: int = 20, levels: Sequence[float] = LEVELS
) -> list[Recording]:
    """`count` circuit-days as the meters circuit-01 and on: a day of the house, or of its sockets
    and lights, from midnight; on half of them an e-bike charge at a random moment, on a fifth a
    laptop. Everything gets the same meter noise; a charge varies by another 1 %. Only active power
    is given: of a charger's current and harmonics nothing was recorded."""
    rng = np.random.default_rng(seed)
    household, charges, laptops = read_household(data), read_charges(data), read_laptops(data)
    what = ["charge"] * (count // 2) + ["laptop"] * (count // 5)
    what += ["nothing"] * (count - len(what))
    rng.shuffle(what)
    made, charged = [], 0
    for number, load in enumerate(what, 1):
        background = ("house", "sockets")[number % 2]
        days = household[background]
        power = days[int(rng.integers(len(days)))].copy()
        source, spans = background, tuple[Span, ...]()
        if load == "laptop":
            power += laptops[int(rng.integers(len(laptops)))]
            source += " + laptop"
        if load == "charge":
            charge = charges[charged % len(charges)]
            level = levels[charged // len(charges) % len(levels)]
            charged += 1
            source += f" + {charge.word} {charge.kind} x{level:g}"
            spans = (_lay(power, charge, level, rng),)
        power += rng.normal(0, JITTER_W, MINUTES)
        time_us = np.arange(MINUTES, dtype=np.int64) * 60 * US_PER_S
        watt = np.round(power.clip(0), 1)[:, None]
        channels = (("main", "power.active"),)
        device = f"circuit-{number:02d}"
        made.append(Recording(device, "circuit_meter", source, channels, time_us, watt, spans))
    return made


def _lay(power: Numbers, charge: Charge, level: float, rng: np.random.Generator) -> Span:
    """Adds a charge to a day, wholly inside it; where it lies is the truth."""
    start = int(rng.integers(0, MINUTES - charge.minutes))
    noise = 1 + rng.uniform(-CHARGE_NOISE, CHARGE_NOISE, charge.minutes)
    power[start : start + charge.minutes] += level * charge.on_grid() * noise
    minute_us = 60 * US_PER_S
    word = f"C01_{charge.kind}_x{level:g}"
    return Span(word, start * minute_us, (start + charge.minutes) * minute_us)


def _table(file: Path) -> Iterator[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            yield from csv.DictReader(lines)
    except FileNotFoundError:
        raise RecordingError(f"no file {file}") from None


def _number(text: str) -> float:
    return float(text) if text not in {"", "?"} else float("nan")


# --- recordings as messages and as a table -------------------------------------------------------


def expected_readings(recordings: Iterable[Recording]) -> int:
    """How many readings must be in history when all is through."""
    return sum(recording.readings for recording in recordings)


def implausible_readings(recordings: Iterable[Recording]) -> int:
    """How many of them lie outside the bounds of their device type, and end in quarantine instead:
    the loop's pressure sensor goes below a vacuum now and then."""
    count = 0
    for recording in recordings:
        for row, (channel, metric) in enumerate(recording.channels):
            low, high = device_type(recording.type).bounds(channel, metric)
            value = recording.value[:, row]
            count += int(((value < low) | (value > high)).sum())
    return count


def recorded_truth(recordings: Iterable[Recording], start_us: int) -> list[Truth]:
    """All labels, with every first row at `start_us`."""
    return [truth for recording in recordings for truth in recording.truth(start_us)]


def recorded_messages(
    recordings: Sequence[Recording], registry: Registry, start_us: int
) -> Iterator[Message]:
    """Births, then a message for every recorded row, in order of time: each recording's first row
    at `start_us`, its spacing kept. RecordingError if the registry lacks a device."""
    lacking = [r.device for r in recordings if r.device not in registry.devices]
    if lacking:
        raise RecordingError(f"the site has no device {', '.join(lacking)}")
    boot = f"{start_us // 1_000:x}"
    yield from _births(recordings, registry, start_us, boot)
    seq: dict[str, int] = defaultdict(int)
    for number, row in _in_order(recordings):
        recording = recordings[number]
        device = registry.devices[recording.device]
        at_us = start_us + int(recording.time_us[row])
        rows: list[tuple[str, str, Scalar]] = [
            (channel, metric, value)
            for (channel, metric), value in zip(
                recording.channels, recording.value[row].tolist(), strict=True
            )
            if value == value  # NaN: nothing was recorded
        ]
        if rows:
            seq[device.principal] += 1
            said = "" if device.principal == device.id else device.id
            payload = encode_up(boot, seq[device.principal], at_us // 1_000, rows, device=said)
            yield Message(at_us, topic(device.principal, "up"), payload)


def write_readings(recordings: Sequence[Recording], start_us: int, file: Path) -> int:
    """The same as the long CSV of `rules replay`, in order of time; gives the number of rows."""
    count = 0
    with file.open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("time", "device", "type", "channel", "metric", "value"))
        for number, row in _in_order(recordings):
            recording = recordings[number]
            moment = format_us(start_us + int(recording.time_us[row]))
            for (channel, metric), value in zip(
                recording.channels, recording.value[row].tolist(), strict=True
            ):
                if value == value:
                    table.writerow(
                        (moment, recording.device, recording.type, channel, metric, repr(value))
                    )
                    count += 1
    return count


def _in_order(recordings: Sequence[Recording]) -> Iterator[tuple[int, int]]:
    """(recording, row) of all rows by time, then by the recordings' order."""
    time_us = np.concatenate([r.time_us for r in recordings] or [np.zeros(0, np.int64)])
    number = np.repeat(np.arange(len(recordings)), [len(r.time_us) for r in recordings])
    row = np.concatenate([np.arange(len(r.time_us)) for r in recordings] or [number])
    order = np.lexsort((row, number, time_us))
    yield from zip(number[order].tolist(), row[order].tolist(), strict=True)


def _births(
    recordings: Sequence[Recording], registry: Registry, start_us: int, boot: str
) -> Iterator[Message]:
    for principal in sorted({registry.devices[r.device].principal for r in recordings}):
        yield Message(start_us, topic(principal, "will"), encode_will(boot, "online"), retain=True)
    for recording in recordings:
        device = registry.devices[recording.device]
        own = device.principal == device.id
        step_s = float(np.median(np.diff(recording.time_us))) / US_PER_S
        payload = encode_birth(
            boot,
            start_us // 1_000,
            [(channel, metric, CATALOGUE[metric].unit) for channel, metric in recording.channels],
            model=f"recorded {recording.type}",
            firmware="1",
            interval_s=step_s,
            device="" if own else device.id,
        )
        yield Message(start_us, topic(device.principal, "birth"), payload, retain=own)
