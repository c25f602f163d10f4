"""UCUM units as the condition language knows them: dimension and exact factor."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ingest.shelf import nearest

Dimension = tuple[int, int, int, int, int, int, int]
"""Exponents of metre, kilogram, second, ampere, kelvin, bit, and decibel over a milliwatt."""

NONE: Dimension = (0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Unit:
    """`factor` base units make one of this. `absolute`: a point on a scale (Cel), of which only
    differences (K) can be added or multiplied."""

    code: str
    dimension: Dimension
    factor: Fraction
    absolute: bool = False

    def times(self, other: Unit) -> Unit:
        return _combined(f"{self.code}.{other.code}", self, other, 1)

    def over(self, other: Unit) -> Unit:
        return _combined(f"{self.code}/{other.code}", self, other, -1)


def ratio(unit: Unit, target: Unit) -> Fraction:
    """What a value in `unit` is multiplied by to be one in `target`, of the same dimension."""
    return unit.factor / target.factor


def unit(code: str) -> Unit:
    """The unit of a UCUM code. LookupError names the nearest one that is known."""
    if code not in UNITS:
        raise LookupError(f"no unit {code!r}{nearest(code, tuple(UNITS))}")
    return UNITS[code]


def _combined(code: str, left: Unit, right: Unit, sign: int) -> Unit:
    m, kg, s, a, k, bit, dbm = (
        one + sign * other for one, other in zip(left.dimension, right.dimension, strict=True)
    )
    return Unit(code, (m, kg, s, a, k, bit, dbm), left.factor * right.factor**sign)


_LENGTH: Dimension = (1, 0, 0, 0, 0, 0, 0)
_VOLUME: Dimension = (3, 0, 0, 0, 0, 0, 0)
_TIME: Dimension = (0, 0, 1, 0, 0, 0, 0)
_PER_TIME: Dimension = (0, 0, -1, 0, 0, 0, 0)
_POWER: Dimension = (2, 1, -3, 0, 0, 0, 0)
_ENERGY: Dimension = (2, 1, -2, 0, 0, 0, 0)
_VOLTAGE: Dimension = (2, 1, -3, -1, 0, 0, 0)
_CURRENT: Dimension = (0, 0, 0, 1, 0, 0, 0)
_PRESSURE: Dimension = (-1, 1, -2, 0, 0, 0, 0)
_FLOW: Dimension = (3, 0, -1, 0, 0, 0, 0)
_SPEED: Dimension = (1, 0, -1, 0, 0, 0, 0)
_ACCELERATION: Dimension = (1, 0, -2, 0, 0, 0, 0)
_TEMPERATURE: Dimension = (0, 0, 0, 0, 1, 0, 0)
_HEATING: Dimension = (0, 0, -1, 0, 1, 0, 0)
_PRESSURE_RATE: Dimension = (-1, 1, -3, 0, 0, 0, 0)
_BITS: Dimension = (0, 0, -1, 0, 0, 1, 0)
_LEVEL: Dimension = (0, 0, 0, 0, 0, 0, 1)

# factors as decimal or fraction text, so that `0.3 MPa` is 300 kPa exactly
_GROUPS: tuple[tuple[Dimension, str], ...] = (
    (NONE, "1=1 %=1/100"),
    (_LENGTH, "m=1 cm=1/100 mm=1/1000"),
    (_VOLUME, "m3=1 L=1/1000"),
    (_TIME, "s=1 ms=1/1000 min=60 h=3600 d=86400"),
    (_PER_TIME, "/s=1 /min=1/60 /h=1/3600 Hz=1 kHz=1000"),
    (_POWER, "W=1 mW=1/1000 kW=1000 MW=1000000 V.A=1 kV.A=1000"),
    (_POWER, "V.A{reactive}=1 kV.A{reactive}=1000 V.A{distortion}=1 kV.A{distortion}=1000"),
    (_ENERGY, "J=1 kJ=1000 W.h=3600 kW.h=3600000 MW.h=3600000000"),
    (_VOLTAGE, "V=1 mV=1/1000 kV=1000"),
    (_CURRENT, "A=1 mA=1/1000 kA=1000"),
    (_PRESSURE, "Pa=1 hPa=100 kPa=1000 MPa=1000000 mbar=100 bar=100000 m[H2O]=9806.65"),
    (_FLOW, "m3/s=1 m3/h=1/3600 m3/min=1/60 L/s=1/1000 L/min=1/60000 L/h=1/3600000"),
    (_SPEED, "m/s=1 mm/s=1/1000 m/min=1/60 m/h=1/3600"),
    (_ACCELERATION, "m/s2=1 [g]=9.80665"),
    (_TEMPERATURE, "K=1"),
    (_HEATING, "K/s=1 K/min=1/60 K/h=1/3600"),
    (_PRESSURE_RATE, "kPa/s=1000 kPa/min=50/3 MPa/min=50000/3"),
    (_BITS, "bit/s=1 kbit/s=1000 Mbit/s=1000000"),
    (_LEVEL, "{dBm}=1"),
)

UNITS: dict[str, Unit] = {
    code: Unit(code, dimension, Fraction(factor))
    for dimension, row in _GROUPS
    for code, factor in (entry.split("=") for entry in row.split())
} | {"Cel": Unit("Cel", _TEMPERATURE, Fraction(1), absolute=True)}

KELVIN = UNITS["K"]
ONE = UNITS["1"]
