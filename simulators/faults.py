"""Planted faults: what each does to a model or to the wire, and the truth about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from ingest.clock import US_PER_S, format_us, parse_duration_s, parse_us
from ingest.registry import Device, Registry
from ingest.shelf import nearest

Wire = Literal["silent", "duplicate", "disorder", "nan", "unset_clock", "backfill"]


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One code of the catalogue. `levers` are set on the device's model while it lasts (on one
    socket if `socket`), reached over `ramp_s`; `wire` is done to the device's messages. `type` ""
    is any; the device must carry one of `tags`, if there are some. `seen`: a camera watches."""

    code: str
    type: str
    what: str
    tags: tuple[str, ...] = ()
    levers: Mapping[str, float] = field(default_factory=dict)
    socket: bool = False
    ramp_s: float = 0.0
    wire: Wire | None = None
    lasts_s: int = 3_600
    seen: bool = False

    def fits(self, device: Device) -> bool:
        return self.type in {"", device.type} and (
            not self.tags or not device.tags.isdisjoint(self.tags)
        )


_CHARGE = {"ebike": 1.0, "cable_hanging": 1.0}
_DUTY, _TANK, _PIT = ("duty",), ("tank",), ("pit",)

_KINDS = (
    FaultKind(
        "C01",
        "circuit_meter",
        "an e-bike charges on the stairwell, a camera of the place sees it",
        ("stairwell",),
        {"wire": 1.0},
        lasts_s=5 * 3_600,
        seen=True,
    ),
    FaultKind(
        "C01_unseen",
        "circuit_meter",
        "an e-bike charges on the stairwell, no camera sees it",
        ("stairwell",),
        {"wire": 1.0},
        lasts_s=5 * 3_600,
    ),
    FaultKind(
        "C01_window",
        "camera",
        "a cable hangs from a window to an e-bike; no meter of ours feeds it",
        ("facade", "entrance"),
        _CHARGE,
        lasts_s=5 * 3_600,
    ),
    FaultKind("C02", "circuit_meter", "overload, 1.15 of rated", (), {"overload": 1.15}),
    FaultKind("C03", "circuit_meter", "hot terminal, +75 K", (), {"heat_k": 75}, lasts_s=7_200),
    FaultKind("C04", "circuit_meter", "residual current +400 mA", (), {"leak_ma": 400}),
    FaultKind("C09", "circuit_meter", "voltage 35 V low", (), {"volt": -35}),
    FaultKind("CP01", "charging_post", "the post is silent", wire="silent"),
    FaultKind(
        "CP03", "charging_post", "1,150 W on a socket", (), {"guest_w": 1_150}, True, lasts_s=1_800
    ),
    FaultKind(
        "CP04", "charging_post", "760 W on every socket", (), {"guest_w": 760}, lasts_s=1_800
    ),
    FaultKind(
        "CP05",
        "charging_post",
        "a loose contact under a 430 W charger: hot socket",
        (),
        {"guest_w": 430, "contact": 12},
        True,
        lasts_s=3 * 3_600,
    ),
    FaultKind(
        "CP09",
        "charging_post",
        "the relay stays closed over 12 W of a full battery",
        (),
        {"guest_w": 12},
        True,
        lasts_s=4 * 3_600,
    ),
    FaultKind(
        "CP13",
        "charging_post",
        "a socket's temperature sensor repeats its last word during a long charge of 90 W",
        (),
        {"frozen": 1, "guest_w": 90},
        True,
        lasts_s=9 * 3_600,
    ),
    FaultKind("CP14", "charging_post", "welded relay, 60 W", (), {"welded_w": 60}, True),
    FaultKind("CP16", "charging_post", "leakage +40 mA", (), {"leak_ma": 40}),
    FaultKind("CP20", "charging_post", "the door stands open", (), {"door": 1}),
    FaultKind("CP21", "charging_post", "voltage 35 V low", (), {"sag_v": 35}),
    FaultKind("P01", "pump", "the lead pump runs dry", _DUTY, {"dry": 1, "lead": 1}, lasts_s=1_800),
    FaultKind(
        "P06",
        "pump",
        "vibration +8 mm/s",
        _DUTY,
        {"shake": 8, "lead": 1},
        ramp_s=600,
        lasts_s=2 * 3_600,
    ),
    FaultKind("P07", "pump", "current 3.5 of ordinary", _DUTY, {"drag": 3.5, "lead": 1}),
    FaultKind("P09", "pump", "bearing +105 K", (), {"heat_k": 105}, lasts_s=2 * 3_600),
    FaultKind("P10", "pump", "burst: pressure falls", ("header",), {"burst_m3h": 90}),
    FaultKind(
        "P11",
        "pump",
        "the tank drains, unfilled",
        _TANK,
        {"inlet_shut": 1, "drain_m3h": 20},
        lasts_s=21_600,
    ),
    FaultKind("P16", "pump", "more flows in than is pumped", _PIT, {"inflow_m3h": 80}),
    FaultKind("P19", "pump", "selector in manual", ("fire",), {"manual": 1}),
    FaultKind("V01", "camera", "no messages", wire="silent"),
    FaultKind("V03", "camera", "35 % of the frames", (), {"frame_rate": 0.35}),
    FaultKind("V04", "camera", "black picture", (), {"light": 0.01}),
    FaultKind("V05", "camera", "frozen picture", (), {"frozen": 1}),
    FaultKind("V06", "camera", "out of focus", (), {"focus": 0.04}),
    FaultKind("V07", "camera", "over-exposed", (), {"light": 3.0}),
    FaultKind("V09", "camera", "snow", (), {"grain": 10}),
    FaultKind("V12", "camera", "covered", (), {"covered": 0.97}),
    FaultKind("V15", "camera", "nothing is recorded", (), {"idle": 1}),
    FaultKind("N01", "gateway", "the gateway and all behind it are silent", wire="silent"),
    FaultKind("N04_duplicate", "", "every message twice", wire="duplicate"),
    FaultKind("N04_disorder", "", "every two messages in the wrong order", wire="disorder"),
    FaultKind("N05_nan", "", "NaN where a number belongs", wire="nan"),
    FaultKind("N07_unset_clock", "", "the device's clock stands in 1970", wire="unset_clock"),
    FaultKind("N09_backfill", "", "silent, then all of it at once", wire="backfill"),
    FaultKind("N10", "gateway", "on battery", (), {"battery": 1}),
)

FAULTS: dict[str, FaultKind] = {kind.code: kind for kind in _KINDS}


@dataclass(frozen=True, slots=True)
class Truth:
    """What was planted: times as `YYYY-MM-DDTHH:MM:SS.mmmZ`."""

    device: str
    fault: str
    started_at: str
    ended_at: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault at one device, from `start_us` to `end_us` of the service clock. `witness` is the
    camera that sees it, if one does."""

    kind: FaultKind
    device: str
    start_us: int
    end_us: int
    witness: str = ""

    def active(self, now_us: int) -> bool:
        return self.start_us <= now_us < self.end_us

    def strength(self, now_us: int) -> float:
        """0 to 1: how far the fault has grown."""
        if not self.kind.ramp_s:
            return 1.0
        return min(1.0, (now_us - self.start_us) / US_PER_S / self.kind.ramp_s)

    @property
    def truth(self) -> Truth:
        return Truth(self.device, self.kind.code, format_us(self.start_us), format_us(self.end_us))


class FaultError(ValueError):
    """A fault that cannot be planted; the text says what would be right."""


def plant(
    code: str, device: str, start_us: int, registry: Registry, lasts_s: float | None = None
) -> Fault:
    """The fault `code` at `device`. FaultError names the valid codes or devices."""
    kind = FAULTS.get(code)
    if kind is None:
        raise FaultError(f"no fault {code!r}{nearest(code, tuple(FAULTS))}")
    fitting = tuple(word for word, known in registry.devices.items() if kind.fits(known))
    if device not in fitting:
        raise FaultError(_misplaced(kind, device, fitting, registry))
    length_s = kind.lasts_s if lasts_s is None else lasts_s
    witness = _witness(registry.devices[device], registry) if kind.seen else ""
    return Fault(kind, device, start_us, start_us + int(length_s * US_PER_S), witness)


def parse_fault(text: str, registry: Registry, start_us: int) -> Fault:
    """`CODE@DEVICE@T`, or `CODE@DEVICE@T@DURATION`; T is ISO 8601, or `+2h` from `start_us`."""
    parts = text.split("@")
    if len(parts) not in {3, 4} or not all(parts):
        raise FaultError(f"{text!r} is not CODE@DEVICE@T or CODE@DEVICE@T@DURATION, as P10@x@+2h")
    code, device, moment = parts[:3]
    try:
        at_us = (
            start_us + parse_duration_s(moment[1:]) * US_PER_S
            if moment.startswith("+")
            else parse_us(moment)
        )
        lasts_s = parse_duration_s(parts[3]) if len(parts) == 4 else None
    except ValueError as error:
        raise FaultError(f"{text!r}: {error}; T is ISO 8601, or +2h from the start") from None
    if lasts_s == 0:
        raise FaultError(f"{text!r}: a fault must last")
    return plant(code, device, at_us, registry, lasts_s)


def write_truth(truth: Iterable[Truth], file: Path) -> None:
    """NDJSON, one fault a line, in the order of their start."""
    ordered = sorted(truth, key=lambda one: (one.started_at, one.device, one.fault))
    file.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in ordered))


def _misplaced(kind: FaultKind, device: str, fitting: tuple[str, ...], registry: Registry) -> str:
    known = registry.devices.get(device)
    why = "no such device" if known is None else f"it is a {known.type}"
    if known is not None and known.type == kind.type:
        why = f"it has none of the tags {', '.join(kind.tags)}"
    close = nearest(device, fitting[:12]) + (" …" if len(fitting) > 12 else "")
    wants = f"a {kind.type}" if kind.type else "a device"
    if not fitting:
        return f"{kind.code} needs {wants}; the site has none that fits"
    return f"{kind.code} needs {wants}, not {device!r} ({why}){close}"


def _witness(device: Device, registry: Registry) -> str:
    """The camera at the stairwell's entrance, else one along the building's facade, else none."""
    cameras = [
        other
        for other in registry.devices.values()
        if other.type == "camera" and other.building and other.building == device.building
    ]
    for camera in cameras:
        if "entrance" in camera.tags and camera.stairwell == device.stairwell:
            return camera.id
    return next((camera.id for camera in cameras if "facade" in camera.tags), "")
