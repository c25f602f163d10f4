from __future__ import annotations

from fractions import Fraction

import pytest

from ingest.metrics import CATALOGUE
from ingest.registry import device_type
from ingest.shelf import shelf_words
from rules.units import KELVIN, NONE, ONE, UNITS, ratio, unit


def test_every_metric_of_the_catalogue_has_a_unit_that_conditions_know() -> None:
    assert {metric.unit for metric in CATALOGUE.values()} <= set(UNITS)


def test_every_parameter_has_a_known_unit_and_the_same_one_in_all_device_types() -> None:
    seen: dict[str, set[str]] = {}
    for word in shelf_words("ingest.devices"):
        for name, parameter in device_type(word).parameters.items():
            assert parameter.unit in UNITS
            seen.setdefault(name, set()).add(parameter.unit)
    assert {name: units for name, units in seen.items() if len(units) > 1} == {}


@pytest.mark.parametrize(
    ("value", "code", "other", "expected"),
    [
        ("0.3", "MPa", "kPa", 300),
        ("1.2", "kW", "W", 1_200),
        ("32", "L/min", "m3/h", Fraction("1.92")),
        ("1", "m[H2O]", "kPa", Fraction("9.80665")),
        ("30", "mA", "A", Fraction("0.03")),
        ("2", "Hz", "/min", 120),
        ("50", "%", "1", Fraction(1, 2)),
        ("1", "kW.h", "MW.h", Fraction(1, 1_000)),
        ("7.1", "mm/s", "m/h", Fraction("25.56")),
        ("1", "[g]", "m/s2", Fraction("9.80665")),
    ],
)
def test_a_value_in_another_unit_is_exact(
    value: str, code: str, other: str, expected: Fraction | int
) -> None:
    assert unit(code).dimension == unit(other).dimension
    assert Fraction(value) * ratio(unit(code), unit(other)) == expected


def test_an_unknown_unit_names_the_nearest_one() -> None:
    with pytest.raises(LookupError, match=r"no unit 'kpa'; did you mean 'kPa'\?"):
        unit("kpa")


def test_products_and_quotients_carry_dimension_and_factor() -> None:
    energy = unit("kW").times(unit("h"))
    assert (energy.dimension, energy.factor) == (unit("kW.h").dimension, unit("kW.h").factor)
    heating = KELVIN.over(unit("min"))
    assert (heating.dimension, heating.factor) == (unit("K/min").dimension, unit("K/min").factor)
    assert unit("kPa").over(unit("MPa")).dimension == NONE
    assert ONE.over(unit("min")).dimension == unit("/min").dimension


def test_only_cel_is_a_point_on_a_scale() -> None:
    assert [code for code, known in UNITS.items() if known.absolute] == ["Cel"]
