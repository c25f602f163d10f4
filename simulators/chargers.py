"""E-bike chargers at work: constant current, constant voltage, float, for rows of batteries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.readings import Mask, Numbers


@dataclass(frozen=True, slots=True)
class Pack:
    """A battery as sold: nominal V and Ah, charger current in A, share of all bikes."""

    word: str
    volts: float
    amp_hours: float
    lithium: bool
    share: float
    current_a: float


PACKS = (
    Pack("48V12Ah lead", 48, 12, False, 0.16, 1.8),
    Pack("48V20Ah lead", 48, 20, False, 0.26, 2.8),
    Pack("60V20Ah lead", 60, 20, False, 0.14, 2.9),
    Pack("72V20Ah lead", 72, 20, False, 0.10, 2.9),
    Pack("72V32Ah lead", 72, 32, False, 0.04, 4.5),
    Pack("48V15Ah lithium", 48, 15, True, 0.12, 2.0),
    Pack("48V24Ah lithium", 48, 24, True, 0.10, 3.0),
    Pack("60V24Ah lithium", 60, 24, True, 0.05, 4.0),
    Pack("36V10Ah lithium", 36, 10, True, 0.03, 2.0),
)
"""Packs and charger currents on the market; the shares are an assumption."""

_VOLTS = np.asarray([pack.volts for pack in PACKS])
_AMP_HOURS = np.asarray([pack.amp_hours for pack in PACKS])
_LITHIUM = np.asarray([pack.lithium for pack in PACKS])
_CURRENT = np.asarray([pack.current_a for pack in PACKS])
_SHARES = np.cumsum([pack.share for pack in PACKS]) / sum(pack.share for pack in PACKS)

EMPTY, WAITING, CURRENT, VOLTAGE, FLOAT, CUT = range(6)
"""Stages. WAITING: the card is read, the charger does not work yet. CUT: left without supply."""

_FLOAT_MINUTES = np.asarray([0.0, 60.0, 180.0, 360.0])
_FLOAT_SHARES = np.cumsum([0.25, 0.20, 0.25, 0.30])


@dataclass(frozen=True, slots=True)
class Draw:
    """The luck of `n` batteries, all columns (n,): uniform in [0, 1) unless said otherwise."""

    uniform: Numbers  # (9, n)
    state_of_charge: Numbers  # when plugged in

    @staticmethod
    def of(rng: np.random.Generator, n: int) -> Draw:
        return Draw(rng.random((9, n)), 0.05 + 0.8 * rng.beta(2.2, 2.6, n))


class Chargers:
    """`n` places where a charger may hang. Model and draws: simulation after the stages that papers
    describe, lithium tapers widened to a recorded charger (tau up to 45 min, stop at 4 %)."""

    def __init__(self, n: int) -> None:
        self.stage: NDArray[np.int8] = np.zeros(n, np.int8)
        self.pack: NDArray[np.int64] = np.zeros(n, np.int64)
        columns = np.zeros((13, n))
        (self.current_a, self.amp_hours, self.soc, self.resistance, self.efficiency) = columns[:5]
        (self.tau_s, self.stop, self.float_w, self.linger_s, self.leave_at) = columns[5:10]
        (self.age_s, self.tapering_s, self.sway) = columns[10:]

    def plug(self, here: Mask, draw: Draw) -> None:
        """Hangs a charger at every place of `here` (n,), whatever was there before."""
        u = draw.uniform[:, here]
        pack = np.searchsorted(_SHARES, u[0], side="right").clip(0, len(PACKS) - 1)
        lithium, volts = _LITHIUM[pack], _VOLTS[pack]
        self.pack[here] = pack
        self.stage[here] = WAITING
        self.current_a[here] = _CURRENT[pack] * (0.93 + 0.12 * u[1])
        self.amp_hours[here] = _AMP_HOURS[pack] * (0.75 + 0.25 * u[2])
        self.soc[here] = draw.state_of_charge[here]
        lead_ohm = 0.14 * volts / 48 * (20 / _AMP_HOURS[pack]) * (0.7 + 1.1 * u[3])
        self.resistance[here] = np.where(lithium, 0.09 * (0.7 + 0.9 * u[3]), lead_ohm)
        self.efficiency[here] = 0.80 + 0.10 * u[4]
        self.tau_s[here] = 60 * np.where(lithium, 9 + 36 * u[5], 28 + 47 * u[5])
        self.stop[here] = np.where(lithium, 0.04 + 0.12 * u[6], 0.14 + 0.06 * u[6])
        trickle_w = 13.8 * volts / 12 * (0.015 + 0.045 * u[7]) * self.current_a[here]
        self.float_w[here] = np.where(
            lithium, 1.5 + 3.5 * u[7], trickle_w / self.efficiency[here] + 3
        )
        pick = np.searchsorted(_FLOAT_SHARES, u[8], side="right").clip(0, 3)
        self.linger_s[here] = 60 * _FLOAT_MINUTES[pick]
        # 18 % come back before the pack is full, somewhere between 35 and 95 % of the way
        early, part = u[1] < 0.18, 0.35 + 0.6 * u[2]
        soc = self.soc[here]
        self.leave_at[here] = np.where(early, soc + part * (1.0 - soc), np.inf)
        self.age_s[here] = 0.0
        self.tapering_s[here] = 0.0
        self.sway[here] = 2 * np.pi * u[3]

    def unplug(self, here: Mask) -> None:
        self.stage[here] = EMPTY

    def cut(self, here: Mask) -> None:
        """The supply is taken away; the charger stays where it hangs."""
        self.stage[here & (self.stage != EMPTY)] = CUT

    def advance(self, dt_s: float) -> Numbers:
        """Moves all on by `dt_s` and gives the power at the mains, W (n,), without meter noise."""
        plugged = self.stage != EMPTY
        self.age_s[plugged] += dt_s
        self._advance_current(dt_s)
        self._advance_voltage(dt_s)
        over = (self.stage == FLOAT) | (self.stage == CUT)
        self.linger_s[over] -= dt_s
        self.unplug(over & (self.linger_s < 0))
        return self._power()

    def _advance_current(self, dt_s: float) -> None:
        self.stage[(self.stage == WAITING) & (self.age_s > dt_s)] = CURRENT
        here = self.stage == CURRENT
        if not here.any():
            return
        gain = np.where(_LITHIUM[self.pack], 0.99, 0.97)
        part = self.current_a * gain * dt_s / (3_600 * np.maximum(self.amp_hours, 1e-9))
        self.soc[here] += part[here]
        self.stage[here & (self._volts() >= self._limit())] = VOLTAGE
        self.unplug(here & (self.soc >= self.leave_at))

    def _advance_voltage(self, dt_s: float) -> None:
        here = self.stage == VOLTAGE
        self.tapering_s[here] += dt_s
        self.stage[here & (self._taper() <= self.stop)] = FLOAT

    def _taper(self) -> Numbers:
        return np.asarray(np.exp(-self.tapering_s / np.maximum(self.tau_s, 1.0)))

    def _volts(self) -> Numbers:
        volts, soc = _VOLTS[self.pack], self.soc
        gassing = 1.35 * volts / 12 * (np.maximum(0, soc - 0.7) / 0.3) ** 2
        lead = (11.9 + soc) * volts / 12 + gassing
        lithium = volts / 3.7 * (3.45 + 0.45 * soc + 0.18 * soc**3)
        drop = self.current_a * self.resistance
        return np.asarray(np.where(_LITHIUM[self.pack], lithium, lead) + drop)

    def _limit(self) -> Numbers:
        volts = _VOLTS[self.pack]
        return np.asarray(np.where(_LITHIUM[self.pack], 4.14 * volts / 3.7, 14.7 * volts / 12))

    def _power(self) -> Numbers:
        own_w = np.where(_LITHIUM[self.pack], 2.0, 3.0)
        efficiency = np.maximum(self.efficiency, 0.5)
        constant = self._volts() * self.current_a / efficiency
        tapered = self._limit() * self.current_a * self._taper() / efficiency
        # the slow sine is what a warming charger does: 0.6 % over 40 min
        sway = 1 + 0.006 * np.sin(2 * np.pi * self.age_s / 2_400 + self.sway)
        nothing = np.zeros(len(self.stage))
        return np.asarray(
            np.select(
                [self.stage == s for s in (WAITING, CURRENT, VOLTAGE, FLOAT)],
                [nothing + 1.5, (constant + own_w) * sway, (tapered + own_w) * sway, self.float_w],
                nothing,
            )
        )
