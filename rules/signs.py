"""Signs of life and sightings into state, at grid points."""

from __future__ import annotations

from ingest.inputs import Event, Presence
from rules.instances import activate_device, device_number
from rules.sightings import Place
from rules.state import NONE, State, View


def hear_device(state: State, item: Event | Presence) -> None:
    """A fresh event, or presence: the device was heard, unless it only says that it is gone."""
    if isinstance(item, Presence) and item.state != "online":
        return
    number = device_number(state, item.site, item.device)
    activate_device(state, number, item.arrival_us)
    devices = state.devices
    devices.heard_us[number] = max(int(devices.heard_us[number]), item.arrival_us)
    lone = devices.lone[number]
    state.alerts.touched[lone[lone != NONE]] = True
    if isinstance(item, Event):
        _see(state, number, item)


def expire_sightings(state: State, grid_us: int) -> None:
    """Ends what no camera has confirmed for too long."""
    if state.sightings.open:
        for _, kind in state.sightings.expire(grid_us):
            _touch(state, kind)


def _see(state: State, number: int, event: Event) -> None:
    if not any(event.kind in _sightings(view) for view in state.views):
        return
    device = state.devices.known[number]
    place: Place = (device.building, device.stairwell)
    if device.building and state.sightings.hear(place, event, event.arrival_us):
        _touch(state, event.kind)


def _touch(state: State, kind: str) -> None:
    for view in state.views:
        if kind in _sightings(view):
            state.alerts.touched[view.alert[: len(view.channels)]] = True


def _sightings(view: View) -> set[str]:
    return {kind for watch in view.watches for kind in watch.kind.sightings}
