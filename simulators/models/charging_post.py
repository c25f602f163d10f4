"""Charging posts: who plugs in when, what the sockets draw, and how warm they get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.metrics import CATALOGUE
from ingest.readings import Mask, Numbers
from ingest.registry import Device
from simulators.chargers import CUT, EMPTY, WAITING, Chargers, Draw
from simulators.model import Column, Frame, Levers, Surroundings
from simulators.weather import Moment, air_c, mains_v, moment

SOCKETS = 12
IDLE_EVERY_S = 300.0  # an idle socket speaks every 5 min, a busy one at every step


@dataclass(frozen=True, slots=True)
class Parameters:
    """Sessions a post and day: 1,032 bikes charged 0.4 times a day, 80 % at 24 posts (assumption).
    Cut-off below 30 W for 45 min, at most 12 h (firmware and platform defaults). Contact heating:
    3 A give 6 K after a time constant of 20 min (simulation). Power factor and third harmonic of
    chargers without correction: 0.61 +- 0.03 (to be verified on site)."""

    sessions: float = 13.75
    full_w: float = 30.0
    full_s: float = 45 * 60.0
    longest_s: float = 12 * 3_600.0
    heating_k_per_a2: float = 6.0 / 9.0
    tau_s: float = 1_200.0
    own_w: float = 14.0  # controller, modem, lamp


_MORNING = (0.35, 0.15, 0.08, 0.05, 0.05, 0.15, 0.6, 1.2, 1.3, 0.9, 0.8, 0.9)
_EVENING = (1.6, 1.3, 0.8, 0.8, 1.1, 2.2, 3.6, 4.2, 4.0, 3.4, 2.4, 1.1)
HOURS = np.asarray([*_MORNING, *_EVENING])
"""Weights of the hour in which a charge begins; an hour later at weekends (assumption)."""


class ChargingPosts:
    """`n` posts of twelve sockets; socket arrays are (n, 12)."""

    warm_up_s = 10 * 3_600.0

    def __init__(self, devices: Sequence[Device], around: Surroundings) -> None:
        self.parameters = Parameters()
        self.n = len(devices)
        self.zone = around.zone
        self.rng = around.rng("charging_post")
        shape = (self.n, SOCKETS)
        self.chargers = Chargers(self.n * SOCKETS)
        self.power_factor = self.rng.normal(0.61, 0.03, shape).clip(0.55, 0.68)
        self.popularity = self.rng.gamma(8.0, 1 / 8.0, self.n)
        self.signal = self.rng.uniform(-95, -65, self.n)
        self.temperature = np.full(shape, 15.0)
        self.energy_kwh = self.rng.uniform(80, 400, shape)
        self.post_kwh = self.energy_kwh.sum(axis=1) * 1.01
        self.low_s = np.zeros(shape)
        self.busy_before = np.zeros(shape, np.bool_)
        self.frozen = np.full(shape, np.nan)
        self.steps = 0
        self.levers: Levers = {
            "guest_w": np.zeros(shape),  # a load that somebody plugs in
            "contact": np.ones(shape),  # contact resistance over the healthy one
            "frozen": np.zeros(shape),  # the temperature sensor repeats its last word
            "welded_w": np.zeros(shape),  # flows although the relay is told to open
            "leak_ma": np.zeros(self.n),
            "door": np.zeros(self.n),
            "sag_v": np.zeros(self.n),
        }

    def step(self, now_us: int, dt_s: float) -> Frame:
        now = moment(now_us, self.zone)
        self._arrive(now, dt_s)
        # whoever plugs in takes the place of what hung there
        self.chargers.unplug((self.levers["guest_w"] > 0).ravel())
        power = self.chargers.advance(dt_s).reshape(self.n, SOCKETS)
        closed = self._relays(power, dt_s)
        return self._frame(now, power, closed, dt_s)

    def _arrive(self, now: Moment, dt_s: float) -> None:
        hour = int(now.hour - (1 if now.weekday >= 5 else 0)) % 24
        # a post has twelve sockets, of which about three in five are free when people come
        free_share = 0.62
        rate = self.parameters.sessions * HOURS[hour] / HOURS.sum() / 3_600
        chance = rate * dt_s / (SOCKETS * free_share) * self.popularity[:, None]
        wanted = self.rng.random((self.n, SOCKETS)) < chance
        draw = Draw.of(self.rng, self.n * SOCKETS)
        free = (self.chargers.stage == EMPTY) & (self.levers["guest_w"].ravel() == 0)
        self.chargers.plug(wanted.ravel() & free, draw)

    def _relays(self, power: Numbers, dt_s: float) -> Mask:
        """Cuts what is full or has been on too long; (n, 12) which relays are closed."""
        stage = self.chargers.stage.reshape(self.n, SOCKETS)
        low = (power < self.parameters.full_w) & (stage > WAITING) & (stage != CUT)
        self.low_s = np.where(low, self.low_s + dt_s, 0.0)
        late = self.chargers.age_s.reshape(self.n, SOCKETS) > self.parameters.longest_s
        self.chargers.cut(((self.low_s >= self.parameters.full_s) | late).ravel())
        stage = self.chargers.stage.reshape(self.n, SOCKETS)
        return np.asarray((stage != EMPTY) & (stage != CUT))

    def _frame(self, now: Moment, power: Numbers, closed: Mask, dt_s: float) -> Frame:
        shape = (self.n, SOCKETS)
        white = 1 + self.rng.normal(0, 0.004, shape)
        guest = self.levers["guest_w"]
        through = np.where(closed, power, 0.0) + guest + self.levers["welded_w"]
        watt = np.round(np.where(through > 0, through * white, 0.0).clip(0, 1_500))
        load_kw = watt.sum(axis=1) / 1_000
        volt = mains_v(now) - 0.6 * load_kw + self.rng.normal(0, 0.6, self.n) - self.levers["sag_v"]
        ampere = watt / (volt[:, None] * self.power_factor)
        self._warm(now, ampere, dt_s)
        self.energy_kwh += watt * dt_s / 3.6e6
        total = watt.sum(axis=1) * 1.004 + self.parameters.own_w + self.rng.normal(0, 0.4, self.n)
        self.post_kwh += total * dt_s / 3.6e6
        busy = (closed | (guest > 0)) & (self.levers["welded_w"] == 0)
        main = self._main(now, total, volt, busy)
        ports = self._ports(watt, ampere, busy, dt_s)
        self.steps += 1
        return Frame(main + ports)

    def _warm(self, now: Moment, ampere: Numbers, dt_s: float) -> None:
        heating = self.parameters.heating_k_per_a2 * ampere**2 * self.levers["contact"]
        aim = air_c(now) + heating
        self.temperature += (aim - self.temperature) * (1 - np.exp(-dt_s / self.parameters.tau_s))

    def _main(self, now: Moment, total: Numbers, volt: Numbers, busy: Mask) -> tuple[Column, ...]:
        noise = self.rng.normal(0, 1, (3, self.n))
        inside = air_c(now) + 3 + total / 1_500 + 0.2 * noise[0]
        leak = np.abs(2.0 + 0.25 * busy.sum(axis=1) + 0.3 * noise[1]) + self.levers["leak_ma"]
        return (
            Column("main", "power.active", np.round(total, 1).clip(0)),
            Column("main", "energy.active.import", np.round(self.post_kwh, 3)),
            Column("main", "voltage", np.round(volt, 1)),
            Column("main", "temperature", np.round(inside, 1)),
            Column("main", "current.residual", np.round(leak, 1)),
            Column("main", "signal.rssi", np.round(self.signal + 2 * noise[2])),
            Column("main", "count.sessions", busy.sum(axis=1).astype(np.float64)),
            Column("main", "state.door", self.levers["door"].copy()),
        )

    def _ports(self, watt: Numbers, ampere: Numbers, busy: Mask, dt_s: float) -> tuple[Column, ...]:
        measured = self.temperature + self.rng.normal(0, 0.12, self.temperature.shape)
        stuck = self.levers["frozen"] > 0
        self.frozen = np.where(stuck & ~np.isnan(self.frozen), self.frozen, measured)
        shown = np.round(np.where(stuck, self.frozen, measured).clip(-40, 125), 1)
        cut = self.chargers.stage.reshape(busy.shape) == CUT
        guest = self.levers["guest_w"] > 0
        socket = np.select([guest, busy, cut], [1.0, 1.0, 2.0], 0.0)  # idle charging full fault
        every = max(1, round(IDLE_EVERY_S / dt_s))
        turn = (self.steps + np.arange(self.n)) % every == 0
        heard = busy | turn[:, None] | (busy != self.busy_before) | (self.levers["welded_w"] > 0)
        self.busy_before = busy
        return tuple(
            Column(f"port.{port + 1}", metric, value[:, port], heard[:, port])
            for port in range(SOCKETS)
            for metric, value in (
                ("power.active", watt),
                ("current", np.round(ampere, 2)),
                ("energy.active.import", np.round(self.energy_kwh, 3)),
                ("temperature", shown),
                ("state.relay", _relay(busy)),
                ("state.socket", socket),
            )
        )


_CLOSED = float(CATALOGUE["state.relay"].words.index("closed"))


def _relay(busy: Mask) -> Numbers:
    return np.where(busy, _CLOSED, 0.0)


MODEL = ChargingPosts
