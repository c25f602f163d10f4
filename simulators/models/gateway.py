"""Gateways: signal, who is connected, and where the power comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.registry import Device
from simulators.model import Column, Frame, Levers, Surroundings
from simulators.weather import air_c, moment


@dataclass(frozen=True, slots=True)
class Parameters:
    """Signal of an indoor 4G modem, wandering slowly (assumption)."""

    signal_dbm: tuple[float, float] = (-88.0, -62.0)
    wander_dbm: float = 3.0
    memory: float = 0.95


class Gateways:
    """`n` gateways; all state arrays are (n,)."""

    warm_up_s = 0.0

    def __init__(self, devices: Sequence[Device], around: Surroundings) -> None:
        self.parameters = Parameters()
        self.n = n = len(devices)
        self.zone = around.zone
        self.rng = around.rng("gateway")
        self.signal = self.rng.uniform(*self.parameters.signal_dbm, n)
        self.wander = np.zeros(n)
        everybody = around.registry.devices.values()
        self.clients = np.asarray(
            [sum(other.gateway == device.id for other in everybody) for device in devices],
            np.float64,
        )
        self.levers: Levers = {
            "battery": np.zeros(n),  # 1: the mains are gone
            "silent": np.zeros(n),  # children that do not answer
        }

    def step(self, now_us: int, dt_s: float) -> Frame:
        noise = self.rng.normal(0, 1, (2, self.n))
        keep = self.parameters.memory
        self.wander = keep * self.wander + (1 - keep**2) ** 0.5 * noise[0]
        signal = self.signal + self.parameters.wander_dbm * self.wander
        inside = air_c(moment(now_us, self.zone)) + 8 + 0.2 * noise[1]
        heard = np.maximum(0, self.clients - self.levers["silent"])
        return Frame(
            (
                Column("main", "signal.rssi", np.round(signal)),
                Column("main", "count.clients", heard),
                Column("main", "temperature", np.round(inside, 1)),
                Column("main", "state.power", np.where(self.levers["battery"] > 0, 1.0, 0.0)),
            )
        )


MODEL = Gateways
