"""Stairwell circuits: door access, lamps, boosters, contractors, and now and then a charger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.readings import Numbers
from ingest.registry import Device
from simulators.chargers import EMPTY, Chargers, Draw
from simulators.model import Column, Frame, Levers, Surroundings, parameter
from simulators.weather import Moment, air_c, is_dark, mains_v, moment

LAMPS = 6  # motion lamps of a stairwell of six storeys


@dataclass(frozen=True, slots=True)
class Parameters:
    """Loads of a stairwell circuit: simulation, no measurement of such a circuit was to be had.
    Meter noise 0.3 % + 0.7 W at a resolution of 1 W. Terminal: 30 K at rated current, 20 min."""

    lamp_night_per_s: float = 0.25 / 60
    lamp_day_per_s: float = 0.02 / 60
    small_hours: float = 0.15  # of the night's rate, from 00:30 to 05:00
    booster_share: float = 0.30
    contractor_share: float = 0.25
    contractor_days: float = 0.40
    dirty_days: float = 0.70
    terminal_k: float = 30.0
    terminal_tau_s: float = 1_200.0


class CircuitMeters:
    """`n` meters, one a circuit; all state arrays are (n,) or (lamps, n)."""

    warm_up_s = 3 * 3_600.0

    def __init__(self, devices: Sequence[Device], around: Surroundings) -> None:
        self.parameters = Parameters()
        self.n = n = len(devices)
        self.zone = around.zone
        self.rng = rng = around.rng("circuit_meter")
        self.fault_rng = around.rng("circuit_meter faults")
        self.rated_a = parameter(devices, "rated_current")
        self.base_w = rng.uniform(25, 90, n)
        self.lamp_w = rng.uniform(8, 30, (LAMPS, n))
        self.lamp_s = np.zeros((LAMPS, n))
        self.photocell_w = rng.uniform(0, 60, n)
        self.booster_w = np.where(
            rng.random(n) < self.parameters.booster_share, rng.uniform(370, 1_100, n), 0.0
        )
        self.booster_s = np.zeros(n)
        self.contractor_w = np.zeros(n)
        self.contractor_s = np.zeros(n)
        self.contracted = rng.random(n) < self.parameters.contractor_share
        self.overlay = rng.integers(0, 4, n)
        self.dirty = rng.random(n) < around.dirty
        self.overlay_h = np.zeros((2, n))  # from, to
        self.overlay_w = np.zeros(n)
        self.date = 0
        self.chargers = Chargers(n)
        self.charged = np.zeros(n, np.bool_)
        self.harmonic = rng.normal(0.80, 0.05, n)
        self.power_factor = rng.normal(0.61, 0.03, n).clip(0.55, 0.68)
        self.leak_ma = rng.uniform(4, 18, n)
        self.terminal_c = np.full(n, 15.0)
        self.energy_kwh = rng.uniform(500, 6_000, n)
        self.levers: Levers = {
            "wire": np.zeros(n),  # 1: a charger hangs on the stairwell
            "overload": np.zeros(n),  # a heater, in parts of the rated current
            "heat_k": np.zeros(n),  # a bad terminal
            "leak_ma": np.zeros(n),
            "volt": np.zeros(n),
        }

    def step(self, now_us: int, dt_s: float) -> Frame:
        now = moment(now_us, self.zone)
        if now.date != self.date:
            self.date = now.date
            self._new_day()
        resistive = self.base_w + self._lamps(now, dt_s) + is_dark(now) * self.photocell_w
        motor = self._booster(dt_s) + self._contractor(now, dt_s)
        overlay, overlay_i3 = self._overlay(now)
        charge = self._charge(dt_s)
        return self._measure(now, dt_s, resistive, motor, overlay, overlay_i3, charge)

    def _new_day(self) -> None:
        start = self.rng.uniform(8, 22, self.n)
        long = self.rng.uniform(2, 8, self.n)
        today = self.dirty & (self.rng.random(self.n) < self.parameters.dirty_days)
        self.overlay_h = np.stack([start, np.where(today, start + long, start)])
        self.overlay_w = self.rng.uniform(70, 320, self.n)
        work = self.rng.random(self.n) < self.parameters.contractor_days
        self.contracted_today = self.contracted & work

    def _lamps(self, now: Moment, dt_s: float) -> Numbers:
        rate = self.parameters.lamp_day_per_s
        if is_dark(now):
            rate = self.parameters.lamp_night_per_s
            rate *= self.parameters.small_hours if 0.5 <= now.hour < 5 else 1.0
        walks = self.rng.random((LAMPS, self.n)) < rate * dt_s
        stays = self.rng.uniform(60, 180, (LAMPS, self.n))
        self.lamp_s = np.where(walks, stays, np.maximum(0, self.lamp_s - dt_s))
        # the meter shows the mean over its interval
        return np.asarray((self.lamp_w * np.minimum(1, self.lamp_s / dt_s)).sum(axis=0))

    def _booster(self, dt_s: float) -> Numbers:
        starts = self.rng.random(self.n) < dt_s / (200 * 60)  # every 60 to 700 min
        runs = self.rng.uniform(180, 900, self.n)
        self.booster_s = np.maximum(0, self.booster_s - dt_s)
        self.booster_s = np.where(starts & (self.booster_s == 0), runs, self.booster_s)
        return np.where(self.booster_s > 0, self.booster_w, 0.0)

    def _contractor(self, now: Moment, dt_s: float) -> Numbers:
        comes = self.rng.random(self.n) < dt_s / (6 * 3_600)
        stays = self.rng.uniform(1_200, 12_000, self.n)
        tool = self.rng.uniform(200, 900, self.n)
        pull = np.abs(self.rng.normal(0, 1, self.n))
        at_work = 8 <= now.hour < 17
        self.contractor_s = np.maximum(0, self.contractor_s - dt_s) * at_work
        new = comes & self.contracted_today & (self.contractor_s == 0) & at_work
        self.contractor_s = np.where(new, stays, self.contractor_s)
        self.contractor_w = np.where(new, tool, self.contractor_w)
        return np.where(self.contractor_s > 0, self.contractor_w * pull, 0.0)

    def _overlay(self, now: Moment) -> tuple[Numbers, Numbers]:
        """The long benign load of a dirty circuit: W, and its share of third harmonic."""
        begin, end = self.overlay_h
        # a load that runs past midnight is ended there: the next day draws anew
        on = (now.hour >= begin) & (now.hour < end)
        age_min = (now.hour - begin) * 60
        wet = np.mod(age_min, 95) < 75  # a dehumidifier runs 75 and rests 20 min
        recharge = np.exp(-np.maximum(0, age_min - 150) / 40)
        power = np.select(
            [self.overlay == 0, self.overlay == 1, self.overlay == 2],
            [self.overlay_w, self.overlay_w, self.overlay_w * wet],
            self.overlay_w * recharge,
        )
        share = np.asarray([0.6, 0.0, 0.08, 0.4])[self.overlay]
        power = np.where(on, power, 0.0)
        return power, share * power / 225

    def _charge(self, dt_s: float) -> Numbers:
        wanted = self.levers["wire"] > 0
        new = wanted & ~self.charged
        if new.any():
            draw = Draw.of(self.fault_rng, self.n)
            # the charge is long: low state of charge, and nobody comes back before it is full
            self.chargers.plug(new, Draw(draw.uniform, 0.1 + 0.3 * draw.state_of_charge))
            self.chargers.leave_at[new] = np.inf
            self.chargers.linger_s[new] = np.inf
        self.charged = wanted
        self.chargers.unplug(~wanted & (self.chargers.stage != EMPTY))
        return self.chargers.advance(dt_s)

    def _measure(
        self,
        now: Moment,
        dt_s: float,
        resistive: Numbers,
        motor: Numbers,
        overlay: Numbers,
        overlay_i3: Numbers,
        charge: Numbers,
    ) -> Frame:
        noise = self.rng.normal(0, 1, (6, self.n))
        extra = self.levers["overload"] * self.rated_a * 226
        true_w = resistive + motor + overlay + charge + extra
        watt = np.round(true_w * (1 + 0.003 * noise[0]) + 0.7 * noise[1]).clip(0)
        volt = mains_v(now) - 0.2 * watt / 1_000 + 0.6 * noise[2] + self.levers["volt"]
        volt = volt.clip(0, 300)
        i3 = 0.06 + self.harmonic * charge / 225 + overlay_i3
        i3 = (i3 * (1 + 0.02 * noise[3]) + 0.006 * noise[4]).clip(0)
        apparent = self._apparent(watt, motor, charge, overlay_i3)
        factor: Numbers = np.round(watt / np.maximum(apparent, 1), 3)
        ampere = apparent / np.where(volt > 1, volt, 226.0)
        self._warm(now, ampere, dt_s)
        self.energy_kwh += watt * dt_s / 3.6e6
        leak = np.abs(self.leak_ma * (1 + 0.04 * noise[5])) + self.levers["leak_ma"]
        return Frame(
            (
                Column("main", "power.active", watt),
                Column("main", "voltage", np.round(volt, 1)),
                Column("main", "current", np.round(ampere, 3)),
                Column("main", "power_factor", factor),
                Column("main", "current.harmonic3", np.round(i3, 3)),
                Column("main", "current.residual", np.round(leak, 1)),
                Column("main", "temperature", np.round(self.terminal_c + 0.1 * noise[5], 1)),
                Column("main", "energy.active.import", np.round(self.energy_kwh, 3)),
            )
        )

    def _apparent(
        self, watt: Numbers, motor: Numbers, charge: Numbers, overlay_i3: Numbers
    ) -> Numbers:
        """V.A: motors add reactive power, rectifiers distortion; both are at right angles to P."""
        reactive = 20 + 0.75 * motor
        distortion = charge * np.sqrt(1 / self.power_factor**2 - 1) + 225 * overlay_i3
        return np.sqrt(watt**2 + reactive**2 + distortion**2)

    def _warm(self, now: Moment, ampere: Numbers, dt_s: float) -> None:
        load = self.parameters.terminal_k * (ampere / self.rated_a) ** 2
        aim = air_c(now) + 4 + load + self.levers["heat_k"]
        self.terminal_c += (aim - self.terminal_c) * (
            1 - np.exp(-dt_s / self.parameters.terminal_tau_s)
        )


MODEL = CircuitMeters
