"""From the view in memory to what is shown: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api import schemas
from api.follower import NEVER_US, Alert, View
from ingest.changes import SEVERITIES, Change
from ingest.clock import Clock, format_us
from ingest.metrics import CATALOGUE
from ingest.readings import Readings, Series, flag_words
from ingest.registry import Device, Registry, Text

SYSTEM = "courtyard"
"""The device of alerts about the service itself."""

SYSTEM_NAME = Text("本系统", "Courtyard itself")

UNITS_SHOWN = {
    "Cel": "°C",
    "m3/h": "m³/h",
    "m3": "m³",
    "[g]": "g",
    "1": "",
    "{dBm}": "dBm",
    "kW.h": "kWh",
    "V.A": "VA",
    "V.A{reactive}": "var",
    "V.A{distortion}": "VA",
    "/min": "r/min",
    "/s": "/s",
}


def unit_shown(unit: str) -> str:
    """A UCUM code as people write it."""
    return UNITS_SHOWN.get(unit, unit)


def number_shown(value: float) -> str:
    """Four significant digits, never an exponent for what fits: 812.4, 0.0031, 12,040."""
    if value != value:
        return "–"
    size = abs(value)
    if size >= 1_000:
        return f"{value:,.0f}"
    digits = 1 if size >= 100 else 2 if size >= 1 else 4
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def age_s(view: View, clock: Clock) -> float | None:
    """How old the newest reading is, in seconds of wall time; None: there was none."""
    if view.heard_us == NEVER_US:
        return None
    return round(max(0.0, clock.wall_s((clock.now_us() - view.heard_us) / 1e6)), 1)


def iso_column(time_us: NDArray[np.int64]) -> list[str]:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ` for each row."""
    moments = (time_us // 1_000).astype("datetime64[ms]")
    shown: list[str] = np.datetime_as_string(moments, timezone="UTC").tolist()
    return shown


def value_columns(series: Sequence[Series], values: Readings) -> dict[str, list[Any]]:
    """Equal columns of values: names, ISO times, numbers (null where not a number), flags."""
    return {
        "device": [one.device for one in series],
        "channel": [one.channel for one in series],
        "metric": [one.metric for one in series],
        "time": iso_column(values.time_us),
        "value": [None if x != x else x for x in values.value.tolist()],
        "flags": values.flags.tolist(),
    }


def place_of(registry: Registry, device: str) -> tuple[Text, str, int]:
    """Name, building and stairwell of a device; of an unknown one its id."""
    if device in registry.devices:
        known = registry.devices[device]
        return known.name, known.building, known.stairwell
    return (SYSTEM_NAME if device == SYSTEM else Text(device, device)), "", 0


def alert_fields(registry: Registry, change: Change) -> dict[str, Any]:
    """What a change alone says of its alert, in the words of schemas.Alert."""
    name, building, stairwell = place_of(registry, change.device)
    resolved = format_us(change.at_us) if change.state == "resolved" else None
    return {
        "episode": change.episode,
        "rule": change.rule,
        "site": change.site,
        "device": change.device,
        "device_name": {"zh": name.zh, "en": name.en},
        "building": building,
        "stairwell": stairwell,
        "channel": change.channel,
        "severity": change.severity,
        "audience": change.audience,
        "state": "firing" if change.state == "known" else change.state,
        "since": format_us(change.since_us),
        "started": format_us(change.started_us),
        "changed": format_us(change.at_us),
        "resolved": resolved,
        "text": {"zh": change.text_zh, "en": change.text_en},
        "evidence": dict(change.evidence),
    }


def alert_event(registry: Registry, change: Change, batch: int) -> dict[str, Any]:
    """The body of a live `alert` event."""
    return {"batch": batch, **alert_fields(registry, change)}


def severity_rank(severity: str) -> int:
    """0 for the worst."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def worst(alerts: Iterable[Alert]) -> str | None:
    """The worst severity of open alerts that people are told of."""
    told = [a.change.severity for a in alerts if a.open and a.change.audience == "people"]
    return min(told, key=severity_rank, default=None)


def open_by_device(view: View) -> dict[str, list[Alert]]:
    found: dict[str, list[Alert]] = {}
    for alert in view.alerts.values():
        if alert.open:
            found.setdefault(alert.change.device, []).append(alert)
    return found


def is_silent(view: View, device: Device, now_us: int) -> bool:
    """Whether nothing that came from it is fresh enough for its type; never heard counts."""
    newest_us = view.newest_us(device.id)
    return newest_us == NEVER_US or now_us - newest_us > device.kind.stale_after_s * 1e6


def device_states(view: View, devices: Iterable[Device], now_us: int) -> dict[str, str]:
    """The state of each device, in the words of schemas.DeviceState."""
    alerts = open_by_device(view)
    return {
        device.id: worst(alerts.get(device.id, ()))
        or ("silent" if is_silent(view, device, now_us) else "ok")
        for device in devices
    }


def building_states(registry: Registry, states: Mapping[str, str]) -> dict[str, str]:
    """The worst of a building's devices; `silent` only if all of them are, or there are none."""
    of: dict[str, list[str]] = {building: [] for building in registry.buildings}
    for device in registry.devices.values():
        if device.building in of:
            of[device.building].append(states[device.id])
    return {building: _together(found) for building, found in of.items()}


def _together(states: Sequence[str]) -> str:
    heard = [state for state in states if state != "silent"]
    return min(heard, key=severity_rank, default="silent")


def device_shape(registry: Registry, view: View, device: Device, state: str) -> schemas.Device:
    newest_us = view.newest_us(device.id)
    presence = view.presence.get(device.id)
    return schemas.Device.model_validate(
        {
            "id": device.id,
            "site": registry.site,
            "type": device.type,
            "name": {"zh": device.name.zh, "en": device.name.en},
            "building": device.building,
            "stairwell": device.stairwell,
            "gateway": device.gateway,
            "principal": device.principal,
            "tags": sorted(device.tags),
            "interval_s": device.interval_s or device.kind.interval_s,
            "stale_after_s": device.kind.stale_after_s,
            "state": state,
            "presence": presence.state if presence else None,
            "heard": None if newest_us == NEVER_US else format_us(newest_us),
        }
    )


def latest_of(view: View, device: Device, now_us: int) -> list[schemas.LatestValue]:
    """The values of a device, by channel and metric."""
    return [
        _latest_value(view, k, device.kind.stale_after_s, now_us) for k in view.known(device.id)
    ]


def _latest_value(view: View, k: int, stale_after_s: float, now_us: int) -> schemas.LatestValue:
    series, latest = view.series[k], view.latest
    value = float(latest.value[k])
    time_us, arrival_us = int(latest.time_us[k]), int(latest.arrival_us[k])
    return schemas.LatestValue(
        channel=series.channel,
        metric=series.metric,
        unit=unit_of(series.metric),
        value=None if value != value else value,
        word=state_word(series.metric, value),
        time=format_us(time_us),
        arrival=format_us(arrival_us),
        flags=flag_words(int(latest.flags[k])),
        stale=now_us - arrival_us > stale_after_s * 1e6,
    )


def unit_of(metric: str) -> str:
    return CATALOGUE[metric].unit if metric in CATALOGUE else "1"


def state_word(metric: str, value: float) -> str | None:
    """The catalogue's word for the number of a state; None if the metric is no state."""
    known = CATALOGUE.get(metric)
    if known is None or known.form != "state" or value != value:
        return None
    number = int(value)
    return known.words[number] if 0 <= number < len(known.words) else None


def sorted_alerts(alerts: Iterable[Alert]) -> list[Alert]:
    """Newest first; of the same moment by episode, so that a cursor can name a place."""
    return sorted(alerts, key=lambda a: (-a.change.started_us, a.change.episode))
