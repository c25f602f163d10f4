"""Pumps: supply sets that hold a pressure, sump pits, fire pumps with their jockey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, pi, sqrt

import numpy as np

from ingest.readings import Mask, Numbers
from ingest.registry import Device
from simulators.model import Column, Frame, Levers, Surroundings, parameter, tagged
from simulators.weather import Moment, air_c, moment

STOPPED, RUNNING = 0.0, 1.0
MANUAL, AUTO = 1.0, 2.0
RATED_RPM = 2_900.0
KPA_PER_M = 9.81


@dataclass(frozen=True, slots=True)
class Parameters:
    """Supply pump of 5.5 kW: head 46 n^2 - 0.0139 Q^2 m, best at 22 m3/h with 68 %. Demand 2.8
    persons x 110 L a household and day. Pit of 4 m2, two pumps of 25 m3/h, starting at 0.9 and
    1.2 m, stopping at 0.3 m. Fire network: jockey between 420 and 450 kPa, weekly patrol of two
    minutes, Tuesday at 10 (periods: GB 50974; the rest: simulation of a usual plant)."""

    shut_off_m: float = 46.0
    droop: float = 0.0139
    best_m3h: float = 22.0
    best_efficiency: float = 0.68
    motor_efficiency: float = 0.88
    persons: float = 2.8
    litres: float = 110.0
    proportional: float = 0.8
    integral_per_s: float = 0.15
    ramp_per_s: float = 0.05
    network_m3_per_m: float = 0.02
    tank_m2: float = 30.0
    tank_aim_m: float = 2.0
    tank_inlet_m3h: float = 60.0
    pit_m2: float = 4.0
    pit_pump_m3h: float = 25.0
    pit_wall_m: float = 2.5  # what is more runs out over the floor
    pit_levels_m: tuple[float, float, float] = (0.3, 0.9, 1.2)
    jockey_kpa: tuple[float, float] = (420.0, 450.0)
    fire_leak_kpa_per_s: float = 30.0 / (5.5 * 3_600)
    jockey_kpa_per_s: float = 0.9


_MORNING = (0.35, 0.25, 0.21, 0.2, 0.24, 0.5, 1.5, 2.1, 1.4, 1.0, 0.95, 1.15)
_EVENING = (1.2, 0.85, 0.75, 0.8, 1.0, 1.4, 1.9, 2.1, 2.0, 1.7, 1.1, 0.6)
DEMAND = np.asarray([*_MORNING, *_EVENING])
"""Water drawn by the hour, against the day's mean (two peaks, quiet nights; assumption)."""

Rows = list[int]
SUB_S = 2.0  # the controller's own step


class Pumps:
    """`n` pumps, all arrays (n,). A plant is made of the pumps of one tag behind one gateway and
    shares one header, pit or network: supply, sump, or fire with its jockey. What is shared is kept
    in the row of the plant's first pump; the pumps tagged `header`, `tank` and `pit` measure it."""

    warm_up_s = 900.0

    def __init__(self, devices: Sequence[Device], around: Surroundings) -> None:
        self.parameters = Parameters()
        self.n = n = len(devices)
        self.zone = around.zone
        self.rng = rng = around.rng("pump")
        self.households = around.registry.households
        self.rated_a = parameter(devices, "rated_current")
        self.is_supply = tagged(devices, "supply")
        self.is_sump = tagged(devices, "sump")
        self.is_fire, self.is_jockey = tagged(devices, "fire"), tagged(devices, "jockey")
        self.is_standby = tagged(devices, "standby")
        self.rated_w = self._rated_w()
        self.set_m = parameter(devices, "set_pressure") / KPA_PER_M
        gateways = [device.gateway for device in devices]
        self.supply = _plants(gateways, self.is_supply)
        self.sump = _plants(gateways, self.is_sump)
        self.fire = _plants(gateways, self.is_fire | self.is_jockey)
        # a plant's pressure and level are measured once, at the cabinet of one of its pumps
        self.has_pressure = tagged(devices, "header") | self.is_fire
        self.has_level = tagged(devices, "tank") | tagged(devices, "pit")
        self.run = np.zeros(n)
        self.ratio = np.full(n, 0.9)
        self.integral = np.full(n, 0.9)
        self.head_m = self.set_m.copy()
        self.flow = np.zeros(n)
        self.lag_s = np.zeros(n)
        self.level = np.where(self.is_sump, 0.5, self.parameters.tank_aim_m)
        self.kpa = np.full(n, 440.0)
        self.starts = np.floor(rng.uniform(200, 4_000, n))
        self.hours = rng.uniform(500, 12_000, n)
        self.warm = np.full(n, 15.0)
        self.bearing = np.full(n, 15.0)
        self.tone = rng.uniform(0.92, 1.08, n)
        self.wander = np.zeros(n)
        self.lead = np.zeros(n, np.int64)
        self.levers: Levers = {
            "dry": np.zeros(n),  # 1: the pump holds no water
            "lead": np.zeros(n),  # 1: chosen to run first
            "burst_m3h": np.zeros(n),  # drawn from the plant beside the ordinary demand
            "shake": np.zeros(n),  # mm/s on top
            "drag": np.ones(n),  # factor on current and power
            "heat_k": np.zeros(n),  # at the bearing
            "manual": np.zeros(n),
            "inflow_m3h": np.zeros(n),  # into the pit
            "inlet_shut": np.zeros(n),  # the tank's inlet
            "drain_m3h": np.zeros(n),  # out of the tank
            "broken": np.zeros(n),  # does not start
        }

    def step(self, now_us: int, dt_s: float) -> Frame:
        now = moment(now_us, self.zone)
        keep = 0.95 ** (dt_s / 60)  # correlation 0.95 at one minute
        self.wander = keep * self.wander + sqrt(1 - keep**2) * self.rng.normal(0, 1, self.n)
        flush = self.rng.random(self.n)
        before = self.run.copy()
        for rows in self.supply:
            self._supply(rows, now, dt_s)
        for rows in self.sump:
            self._sump(rows, now, flush[rows[0]], dt_s)
        for rows in self.fire:
            self._fire(rows, now, dt_s)
        self.starts += (self.run > before) & (before == STOPPED)
        self.hours += self.run * dt_s / 3_600
        return self._frame(now, dt_s)

    def _supply(self, rows: Rows, now: Moment, dt_s: float) -> None:
        """Two of the pumps share the flow at one speed; the controller holds the pressure."""
        lever, p = self.levers, self.parameters
        first = rows[0]
        duty = [row for row in rows if not self.is_standby[row] and not lever["broken"][row]]
        duty += [row for row in rows if self.is_standby[row] and not lever["broken"][row]]
        duty = duty[:2]
        if len(duty) == 2 and now.date % 2:
            duty.reverse()  # the lead changes every day
        duty.sort(key=lambda row: -lever["lead"][row])
        wet = [int(not lever["dry"][row]) for row in duty]
        demand = self._demand(first, now)
        burst = float(lever["burst_m3h"][rows].sum())
        # plain floats: the controller's loop runs 43,200 times a day
        head, ratio = float(self.head_m[first]), float(self.ratio[first])
        integral, lag_s = float(self.integral[first]), float(self.lag_s[first])
        aim, most, each = float(self.set_m[first]), p.ramp_per_s * SUB_S, 0.0
        both = len(duty) == 2 and bool(self.run[duty[1]] == RUNNING)
        for _ in range(max(1, round(dt_s / SUB_S))):
            each = sqrt(max(0.0, p.shut_off_m * ratio**2 - head) / p.droop)
            drawn = demand * min(1.0, sqrt(head / (0.6 * aim))) + burst * sqrt(head / aim)
            given = each * (sum(wet) if both else sum(wet[:1]))
            head += (given - drawn) / 3_600 * SUB_S / p.network_m3_per_m
            head = min(max(0.0, head), p.shut_off_m * 1.02)
            error = (aim - head) / aim
            integral = min(1.0, max(0.4, integral + p.integral_per_s * error * SUB_S))
            wish = min(1.0, max(0.4, integral + p.proportional * error))
            ratio += min(most, max(-most, wish - ratio))
            waits = ratio < 0.88 if both else ratio > 0.985
            lag_s = lag_s + SUB_S if waits else 0.0
            if waits and lag_s >= (60 if both else 20) and len(duty) == 2:
                both, lag_s = not both, 0.0
        self._keep_supply(rows, duty if both else duty[:1], each, ratio)
        self.head_m[first], self.ratio[first], self.integral[first] = head, ratio, integral
        self.lag_s[first] = lag_s
        self._tank(rows, sum(self.flow[rows]), dt_s)

    def _demand(self, first: int, now: Moment) -> float:
        p = self.parameters
        mean = self.households * p.persons * p.litres / 1_000 / 24
        here = now.hour - 0.5
        low, part = int(np.floor(here)), here - np.floor(here)
        hourly = DEMAND[low % 24] * (1 - part) + DEMAND[(low + 1) % 24] * part
        return float(mean * hourly * exp(0.12 * self.wander[first]))

    def _keep_supply(self, rows: Rows, running: list[int], each: float, ratio: float) -> None:
        self.run[rows] = STOPPED
        self.flow[rows] = 0.0
        for row in running:
            self.run[row] = RUNNING
            self.flow[row] = 0.0 if self.levers["dry"][row] else each
        self.ratio[rows] = ratio

    def _tank(self, rows: Rows, drawn_m3h: float, dt_s: float) -> None:
        p, first = self.parameters, rows[0]
        shut = self.levers["inlet_shut"][rows].max() > 0
        opening = min(1.0, max(0.0, (p.tank_aim_m + 0.15 - self.level[first]) / 0.3))
        inflow = 0.0 if shut else p.tank_inlet_m3h * opening
        drawn_m3h += float(self.levers["drain_m3h"][rows].sum())
        level = self.level[first] + (inflow - drawn_m3h) * dt_s / 3_600 / p.tank_m2
        self.level[first] = max(0.2, level)  # below, the pumps are stopped by a float switch

    def _sump(self, rows: Rows, now: Moment, flush: float, dt_s: float) -> None:
        p, first = self.parameters, rows[0]
        stop, start, second = p.pit_levels_m
        level = float(self.level[first])
        # seepage of 0.3 to 1 m3/h, and now and then somebody's washing water
        inflow = 0.65 + 0.35 * float(np.tanh(self.wander[first]))
        inflow += 4.0 if flush < 0.002 * dt_s else 0.0
        inflow += float(self.levers["inflow_m3h"][rows].sum())
        good = [row for row in rows if not self.levers["broken"][row]]
        turn = int(self.lead[first]) % max(1, len(good))
        good = good[turn:] + good[:turn]
        wet = [int(not self.levers["dry"][row]) for row in good]
        wanted = int(self.run[rows].sum())
        for _ in range(max(1, round(dt_s / SUB_S))):
            before = wanted
            if level <= stop:
                wanted = 0
            elif level >= second:
                wanted = 2
            elif level >= start:
                wanted = max(1, wanted)
            if before and not wanted:
                self.lead[first] += 1  # the other pump begins next time
            level += (inflow - sum(wet[:wanted]) * p.pit_pump_m3h) * SUB_S / 3_600 / p.pit_m2
            level = min(max(0.0, level), p.pit_wall_m)
        self.run[rows] = STOPPED
        self.run[good[:wanted]] = RUNNING
        self.level[first] = level
        for row in rows:
            pumping = self.run[row] == RUNNING and not self.levers["dry"][row]
            self.flow[row] = p.pit_pump_m3h if pumping else 0.0

    def _fire(self, rows: Rows, now: Moment, dt_s: float) -> None:
        p, lever = self.parameters, self.levers
        low, high = p.jockey_kpa
        kpa, leak = float(self.kpa[rows[0]]), p.fire_leak_kpa_per_s
        jockeys = [row for row in rows if self.is_jockey[row] and not lever["broken"][row]]
        lifting = float(self.run[jockeys].max()) if jockeys else STOPPED
        for _ in range(max(1, round(dt_s / SUB_S))):
            if jockeys and kpa <= low:
                lifting = RUNNING
            elif kpa >= high:
                lifting = STOPPED
            kpa = max(0.0, kpa + (lifting * p.jockey_kpa_per_s - leak) * SUB_S)
        self.run[jockeys] = lifting
        self.kpa[rows] = kpa
        for row in rows:
            if self.is_fire[row]:
                # the weekly patrol turns it slowly for two minutes; not while it is in manual
                patrol = now.weekday == 1 and 10.0 <= now.hour < 10.0 + 2 / 60
                ready = not lever["manual"][row] and not lever["broken"][row]
                self.run[row] = RUNNING if patrol and ready else STOPPED
            self.flow[row] = 0.0

    def _frame(self, now: Moment, dt_s: float) -> Frame:
        noise = self.rng.normal(0, 1, (8, self.n))
        on = self.run == RUNNING
        ratio = np.where(self.is_supply, self.ratio, np.where(self.is_fire, 0.3, 1.0)) * on
        watt = self._power(ratio) * self.levers["drag"] * (1 + 0.01 * noise[0])
        ampere = watt / (sqrt(3) * 380 * 0.86)
        volt = 386 + 3 * np.cos(2 * pi * (now.hour - 4) / 24) + 0.8 * noise[1]
        aim = air_c(now) + 6 + 28 * (watt / self.rated_w)
        follow = 1 - np.exp(-dt_s / 1_800)
        self.warm += (aim - self.warm) * follow
        self.bearing += (0.8 * aim + self.levers["heat_k"] - self.bearing) * follow
        header = np.where(self.is_fire | self.is_jockey, self.kpa, self.head_m * KPA_PER_M)
        first = np.arange(self.n)
        for rows in (*self.supply, *self.sump, *self.fire):
            first[rows] = rows[0]
        pressure = np.round(header[first] + 0.8 * noise[2], 1)
        level = np.round(self.level[first] + 0.004 * noise[4], 3)
        flow = np.round((self.flow * (1 + 0.01 * noise[3])).clip(0), 2)
        selector = np.where(self.levers["manual"] > 0, MANUAL, AUTO)
        speed = np.round(ratio * RATED_RPM)
        return Frame(
            (
                Column("main", "power.active", np.round(watt.clip(0))),
                Column("main", "current", np.round(ampere.clip(0), 2)),
                Column("main", "voltage", np.round(volt, 1)),
                Column("main", "speed", speed, fitted=self.is_supply),
                Column("main", "pressure", pressure, fitted=self.has_pressure),
                Column("main", "flow", flow, fitted=self.is_supply | self.is_sump),
                Column("main", "level", level, fitted=self.has_level),
                Column("main", "vibration.velocity.rms", self._vibration(ratio, noise[5])),
                Column("main", "temperature", np.round(self.warm + 0.1 * noise[6], 1)),
                Column("bearing", "temperature", np.round(self.bearing + 0.1 * noise[7], 1)),
                Column("main", "state.run", self.run.copy()),
                Column("main", "state.selector", selector),
                Column("main", "starts", self.starts.copy()),
                Column("main", "runtime", np.round(self.hours, 3)),
            )
        )

    def _rated_w(self) -> Numbers:
        p = self.parameters
        head = p.shut_off_m - p.droop * p.best_m3h**2
        supply = 9.81 * p.best_m3h * head / 3.6 / p.best_efficiency / p.motor_efficiency
        return np.select(
            [self.is_supply, self.is_sump, self.is_jockey],
            [np.full(self.n, supply), np.full(self.n, 1_500.0), np.full(self.n, 1_100.0)],
            30_000.0,
        )

    def _power(self, ratio: Numbers) -> Numbers:
        """Electric W (n,): hydraulic power over efficiency, and never under what turning costs."""
        p, rated = self.parameters, self.rated_w
        turning = np.maximum(ratio, 1e-6)
        off = (self.flow / turning - p.best_m3h) / p.best_m3h
        efficiency = np.maximum(0.15, p.best_efficiency * (1 - 0.9 * off**2))
        head = p.shut_off_m * ratio**2 - p.droop * self.flow**2
        hydraulic = 9.81 * self.flow * np.maximum(0, head) / 3.6 / efficiency
        # the drive limits the motor to its rated current and 5 % more
        most = 1.05 * self.rated_a * sqrt(3) * 380 * 0.86
        supply = np.minimum(hydraulic / p.motor_efficiency, most)
        supply = np.maximum(supply, 0.35 * rated * ratio**3)
        fixed = rated * np.where(self.levers["dry"] > 0, 0.35, 0.9) * np.minimum(1, ratio**3)
        return np.where(self.is_supply, supply, fixed)

    def _vibration(self, ratio: Numbers, noise: Numbers) -> Numbers:
        """mm/s (n,): grows with speed squared and with the distance from the best flow."""
        p = self.parameters
        off = np.abs(self.flow / np.maximum(p.best_m3h * ratio, 1e-6) - 1).clip(0, 2)
        loaded = np.where(self.is_supply, off, 0.2)
        value = (0.6 + 0.8 * ratio**2 + 4 * loaded**1.5) * self.tone * 0.9
        value = np.where(ratio > 0, value + self.levers["shake"], 0.08)
        return np.asarray(np.round(np.abs(value * (1 + 0.03 * noise)), 2), np.float64)


def _plants(gateways: Sequence[str], members: Mask) -> list[Rows]:
    """The row numbers of each plant."""
    rows = [int(row) for row in np.flatnonzero(members)]
    words = sorted({gateways[row] for row in rows})
    return [[row for row in rows if gateways[row] == word] for word in words]


MODEL = Pumps
