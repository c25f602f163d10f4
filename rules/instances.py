"""Which channels and devices a rule looks at: its instances, from the first fresh reading on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ingest.clock import US_PER_S
from ingest.device import DeviceType
from ingest.readings import Series
from ingest.registry import Device, Text, device_type
from rules.columns import longer
from rules.kind import NEVER_US, NO, Kind
from rules.rule import Rule
from rules.state import NONE, Numbered, State, View, Watch

MAIN = "main"

STALE_S = 900.0
"""For a device of unknown type: the slowest type that reports at all keeps this pace."""

STALE_INTERVALS = 3.0
"""A device that names its own interval is stale after so many of them, but not before
`STALE_LEAST_S`: a mobile network delays one message in a hundred by 8 s and more."""

STALE_LEAST_S = 30.0


def view_of(rule: Rule, number: int) -> View:
    """A rule without instances yet."""
    clear = watch_of(rule.clear) if rule.clear else None
    main = watch_of(rule.kind)
    kinds = [watch.kind for watch in (main, clear) if watch]
    return View(
        rule,
        number,
        main,
        clear,
        frozenset(main.metrics + (clear.metrics if clear else ())),
        timed=any(getattr(kind, "timed", True) for kind in kinds),
    )


def watch_of(kind: Kind) -> Watch:
    metrics = tuple(kind.metrics)
    return Watch(
        kind,
        metrics,
        np.full((0, len(metrics)), NONE, np.int32),
        kind.fresh_columns(0),
        {name: np.full(0, np.nan) for name in kind.parameters},
    )


def extend(state: State, new_series: Iterable[Series]) -> None:
    """Takes series into the table. They count from their first fresh reading on."""
    for series in new_series:
        device = device_number(state, series.site, series.device)
        state.table.append(series)
        state.series.reserve(len(state.table))
        state.series.device[len(state.table) - 1] = device


def device_number(state: State, site: str, name: str) -> int:
    """The row of a device, made now if it is new; its instances come when it is first heard."""
    devices, key = state.devices, (site, name)
    known = devices.numbers.get(key)
    if known is not None:
        return known
    number = devices.numbers[key] = len(devices.keys)
    device = _device(state, site, name)
    devices.keys.append(key)
    devices.known.append(device)
    devices.channels.append({})
    devices.rules.append(_chosen(state.views, site, device))
    devices.reserve()
    return number


def choose(state: State) -> None:
    """Asks the rules anew which devices they are about."""
    devices = state.devices
    devices.rules = [
        _chosen(state.views, site, device)
        for (site, _), device in zip(devices.keys, devices.known, strict=True)
    ]


def activate_device(state: State, number: int, now_us: int) -> None:
    """The device is known from now on: rules about whole devices look at it."""
    if state.devices.active[number]:
        return
    state.devices.active[number] = True
    for rule in state.devices.rules[number]:
        view = state.views[rule]
        if view.main.kind.per == "device":
            refresh(state, view, number, MAIN, now_us)


def activate_series(state: State, number: int, now_us: int) -> None:
    """The first fresh reading of a series: channels that now have what a rule asks for."""
    device = int(state.series.device[number])
    series = state.table[number]
    state.series.seen[number] = True
    channels = state.devices.channels[device]
    channels.setdefault(series.channel, {})[series.metric] = number
    activate_device(state, device, now_us)
    for rule in state.devices.rules[device]:
        view = state.views[rule]
        if series.metric in view.interest:
            # a channel without a metric takes it from the main channel
            for channel in list(channels) if series.channel == MAIN else [series.channel]:
                refresh(state, view, device, channel, now_us)


def refresh(state: State, view: View, device: int, channel: str, now_us: int) -> None:
    """Makes or completes the instance of a rule at a channel, if there is to be one."""
    channels = state.devices.channels[device]
    own, main = channels.get(channel, {}), channels.get(MAIN, {})
    row = view.rows.get((device, channel))
    if row is None:
        if not _wanted(view, channel, own, main):
            return
        row = _add(state, view, device, channel, now_us)
    alert = int(view.alert[row])
    before = _looked_at(view, row)
    for watch in view.watches:
        watch.series[row] = [own.get(name, main.get(name, NONE)) for name in watch.metrics]
    after = _looked_at(view, row)
    for number in before - after:
        links = state.series.watched[number]
        links[links == alert] = NONE
    for number in after - before:
        state.series.watched = _link(state.series.watched, number, alert)
    if view.main.kind.per == "device":
        state.devices.lone = _link(state.devices.lone, device, alert)


def _looked_at(view: View, row: int) -> set[int]:
    return {n for watch in view.watches for n in watch.series[row].tolist() if n != NONE}


def _wanted(view: View, channel: str, own: dict[str, int], main: dict[str, int]) -> bool:
    kind, metrics = view.main.kind, view.main.metrics
    if kind.per == "device":
        return True
    if not view.rule.on.takes_channel(channel) or not any(metric in own for metric in metrics):
        return False
    needs_all = getattr(kind, "needs_all", False)
    return not needs_all or all(metric in own or metric in main for metric in metrics)


def _add(state: State, view: View, device: int, channel: str, now_us: int) -> int:
    row = len(view.channels)
    if row == len(view.device):
        _lengthen(view)
    known = state.devices.known[device]
    view.channels.append(channel)
    view.rows[device, channel] = row
    view.places.append((known.building, known.stairwell))
    view.device[row] = device
    view.known_us[row] = now_us
    view.stale_us[row] = int(_stale_s(view.rule, known) * US_PER_S)
    for watch in view.watches:
        for name, column in watch.parameters.items():
            column[row] = _parameter(known, name)
    view.alert[row] = _alert(state, view, row, device)
    return row


def _alert(state: State, view: View, row: int, device: int) -> int:
    alerts, rule = state.alerts, view.rule
    number = alerts.add()
    alerts.rule[number] = view.number
    alerts.row[number] = row
    alerts.device[number] = device
    alerts.for_us[number] = rule.for_s * US_PER_S
    alerts.clear_for_us[number] = rule.clear_for_s * US_PER_S
    alerts.keep_us[number] = rule.keep_firing_s * US_PER_S
    alerts.own_clear[number] = rule.clear is not None
    if rule.clear is not None:
        alerts.clear[number] = NO
    alerts.due_us[number] = state.grid_us + US_PER_S
    state.due_us = min(state.due_us, state.grid_us + US_PER_S)
    return number


def _lengthen(view: View) -> None:
    view.device = longer(view.device, NONE)
    view.alert = longer(view.alert, NONE)
    view.known_us = longer(view.known_us, NEVER_US)
    view.stale_us = longer(view.stale_us, 0)
    rows = len(view.device)
    for watch in view.watches:
        new = watch.kind.fresh_columns(rows - len(watch.series))
        watch.memory = {
            name: np.concatenate([column, new[name]]) for name, column in watch.memory.items()
        }
        watch.series = longer(watch.series, NONE, rows)
        watch.parameters = {
            name: longer(column, np.nan, rows) for name, column in watch.parameters.items()
        }


def _link(links: Numbered, row: int, instance: int) -> Numbered:
    """Writes `instance` into a free place of `row`; the matrix, wider if there was none."""
    taken = links[row].tolist()
    if instance in taken:
        return links
    if NONE not in taken:
        wider = np.full_like(links, NONE)
        return _link(np.concatenate([links, wider], axis=1), row, instance)
    links[row, taken.index(NONE)] = instance
    return links


def _chosen(views: list[View], site: str, device: Device) -> tuple[int, ...]:
    return tuple(v.number for v in views if v.rule.on.takes_device(site, device))


def _device(state: State, site: str, name: str) -> Device:
    registry = state.registry
    if registry and site == registry.site and name in registry.devices:
        return registry.devices[name]
    return Device(name, state.types.get(name, ""), "", Text(name, name))


def _type(device: Device) -> DeviceType | None:
    return device_type(device.type) if device.type else None


def _stale_s(rule: Rule, device: Device) -> float:
    if rule.stale_after_s is not None:
        return rule.stale_after_s
    if device.interval_s > 0:
        return max(STALE_LEAST_S, STALE_INTERVALS * device.interval_s)
    declared = _type(device)
    return declared.stale_after_s if declared else STALE_S


def _parameter(device: Device, name: str) -> float:
    declared: Any = _type(device)
    if name in device.params:
        return float(device.params[name])
    if declared is not None and name in declared.parameters:
        return float(declared.parameters[name].value)
    return float("nan")
