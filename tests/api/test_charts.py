"""Charts: right scales, open gaps, levels where rules change their mind, plans that fit."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.charts import NARROW, Line, Mark, grid, nice_ticks, short_name, spark, trend
from api.levels import crossings, levels_of, references_of
from api.views import number_shown
from ingest.readings import Series
from ingest.site import read_registry
from ingest.store import Buckets
from rules.expression import compile_condition
from rules.rulebook import load_rulebook
from tests.api.community import RULES, SITE

MINUTE_US = 60_000_000
finite = st.floats(-1e9, 1e9, allow_nan=False)


def buckets_of(values: list[float]) -> Buckets:
    column = np.asarray(values, np.float64)
    starts = np.arange(len(values), dtype=np.int64) * MINUTE_US
    return Buckets(starts, column, column - 1, column + 1, np.isfinite(column).astype(np.int64))


def drawn(values: list[float], **more: list[Line] | list[Mark]) -> str:
    return str(
        trend(
            buckets_of(values),
            0,
            len(values) * MINUTE_US,
            size=NARROW,
            zone=ZoneInfo("Asia/Shanghai"),
            unit="kPa",
            label="a <b>",
            gap_us=2 * MINUTE_US,
            **more,  # type: ignore[arg-type]
        )
    )


@given(finite, st.floats(1e-6, 1e9), st.integers(2, 6))
def test_ticks_are_round_even_and_cover_the_range(low: float, span: float, n: int) -> None:
    high = low + span
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        return  # closer together than ten digits can say
    ticks = nice_ticks(low, high, n)
    tolerance = 1e-6 * (high - low) + 1e-9
    assert ticks[0] <= low + tolerance
    assert ticks[-1] >= high - tolerance
    assert 2 <= len(ticks) <= 2 * n + 3
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0], rtol=1e-3, atol=1e-9)


def test_a_gap_stays_open_and_a_lone_value_is_a_dot() -> None:
    nan = float("nan")
    line = re.search(r'class="line" d="([^"]*)"', drawn([1, 2, nan, nan, nan, 3, nan, nan, nan, 4]))
    assert line
    assert line[1].count("M") == 3
    assert line[1].count("h.1") == 2


def test_a_level_is_drawn_where_it_fits_and_left_out_where_it_would_flatten_the_rest() -> None:
    chart = drawn([300, 340], lines=[Line(290, "near", "serious"), Line(9_000, "far", "info")])
    assert "near" in chart
    assert "far" not in chart


def test_marks_lead_to_their_alerts_and_texts_are_escaped() -> None:
    mark = Mark(MINUTE_US, None, "serious", "<low>", "/alerts/1")
    chart = drawn([300.0] * 10, marks=[mark])
    assert 'href="/alerts/1"' in chart
    assert "&lt;low&gt;" in chart
    assert "a &lt;b&gt;" in chart
    assert "<low>" not in chart


@given(st.lists(st.none() | finite, min_size=1, max_size=60))
def test_any_curve_can_be_drawn(values: list[float | None]) -> None:
    chart = str(spark([float("nan") if v is None else v for v in values], "x"))
    assert "nan" not in chart
    assert "inf" not in chart


@given(
    st.dictionaries(
        st.text("abc123", min_size=1, max_size=4),
        st.tuples(st.floats(0, 500), st.floats(0, 500)),
        min_size=1,
        max_size=40,
    )
)
def test_every_building_has_a_cell_of_its_own_and_the_plan_fits_a_phone(
    places: dict[str, tuple[float, float]],
) -> None:
    cells = grid(places)
    assert cells.keys() == places.keys()
    assert len(set(cells.values())) == len(places)
    assert max(column for column, _ in cells.values()) < 7


def test_a_plan_keeps_north_up_and_east_right() -> None:
    cells = grid({"sw": (0, 0), "se": (70, 0), "nw": (0, 30), "ne": (70, 30)})
    assert cells == {"nw": (0, 0), "ne": (1, 0), "sw": (0, 1), "se": (1, 1)}


@pytest.mark.parametrize(
    ("name", "short"), [("12号楼", "12"), ("Building 7", "7"), ("Garden", "b-gar")]
)
def test_a_building_is_known_by_its_number(name: str, short: str) -> None:
    assert short_name(name, "b-garden") == short


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (812.44, "812.4"),
        (340.0, "340"),
        (0.0031, "0.0031"),
        (12_040.4, "12,040"),
        (-3.456, "-3.46"),
        (float("nan"), "–"),
        (0.0, "0"),
    ],
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert number_shown(value) == shown


@given(st.floats(-900, 900), st.booleans())
def test_a_level_is_where_the_answer_changes(limit: float, above: bool) -> None:
    limit = round(limit, 2)
    sign = ">" if above else "<"
    condition = compile_condition(f"temperature {sign} {limit:.2f} Cel")
    found = crossings(condition, (), -1_000.0, 1_000.0)
    assert len(found) == 1
    assert found[0] == pytest.approx(limit, abs=1e-2)


def test_both_ends_of_a_band_are_found_and_parameters_count() -> None:
    condition = compile_condition("pressure < param.set_pressure - 50 kPa or pressure > 420 kPa")
    assert crossings(condition, (("set_pressure", 340.0),), -100.0, 2_500.0) == (290.0, 420.0)


def test_the_levels_of_a_device_are_those_of_the_rules_that_are_about_it() -> None:
    registry = read_registry("site.yaml", SITE)
    rules = load_rulebook("rules.yaml", RULES).rules
    pump, post = registry.devices["pump-1"], registry.devices["post-1"]
    pressure = Series("rihuali", "pump-1", "main", "pressure")
    assert levels_of(rules, pump, pressure) == ((290.0, "serious"),)
    assert references_of(rules, pump, pressure) == (("set_pressure", 340.0),)
    assert levels_of(rules, pump, pressure._replace(metric="flow")) == ()
    assert levels_of(rules, post, pressure) == ()
