from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from rules.evaluate import evaluate_set
from rules.evaluate.circuits import RULE, circuit_readings, minute_times, score_circuits
from rules.evaluate.ebike_smartplug import score_single_loads, single_loads
from rules.kinds.flying_wire import FlyingWire
from rules.rulebook import shipped_rulebook
from rules.scoring.alerts import drive
from rules.scoring.composed import Circuit, Recipe, composed_circuits
from rules.scoring.loads import DAY_MINUTES, hold, read_charges, read_household, read_loads
from rules.scoring.pumps import experiments
from rules.scoring.table import Table
from rules.scoring.through import run_rules

RECORDINGS = os.environ.get("COURTYARD_RECORDINGS")
recordings = pytest.mark.skipif(
    RECORDINGS is None, reason="COURTYARD_RECORDINGS names no folder with data/"
)


@pytest.fixture
def data() -> Path:
    return Path(RECORDINGS or "") / "data"


def figure(table: Table, name: str) -> object:
    return next(row[1] for row in table.rows if row[0] == name)


def figures(table: Table, *label: str) -> dict[str, object]:
    row = next(row for row in table.rows if row[: len(label)] == label)
    return dict(zip(table.columns, row, strict=True))


def test_short_gaps_are_held_and_long_ones_stay_unknown() -> None:
    nan = np.nan
    held = hold(np.array([nan, 1.0, nan, nan, 2.0, nan, nan, nan, 3.0, nan]), 2)
    expected = [nan, 1, 1, 1, 2, nan, nan, nan, 3, 3]
    np.testing.assert_array_equal(held, np.array(expected, np.float64))


@recordings
def test_the_recordings_are_read_as_their_readme_says(data: Path) -> None:
    charges = {charge.kind: charge for charge in read_charges(data)}
    assert sorted(charges) == ["complete", "cut", "taper_only"]
    assert charges["complete"].power_w[0] == pytest.approx(98.173)
    assert len(charges["complete"].power_w) == 3 * 60 + 53 + 1
    assert read_household(data)["house"].shape == (14, DAY_MINUTES)
    loads = read_loads(data)
    assert len(loads) == 81
    assert sum(load.battery for load in loads) == 16


@recordings
def test_the_same_seed_composes_the_same_days_and_another_one_others(data: Path) -> None:
    def days(seed: int) -> list[Circuit]:
        return list(composed_circuits(Recipe(data, seed), 10, ("house",)))

    one, again, other = days(1), days(1), days(2)
    assert all(np.array_equal(a.power_w, b.power_w) for a, b in zip(one, again, strict=True))
    assert not any(np.array_equal(a.power_w, b.power_w) for a, b in zip(one, other, strict=True))
    assert sum(day.charged for day in one) == 5
    assert sum(day.kind == "laptop" for day in one) == 2


@recordings
def test_what_is_tuned_on_is_not_reported_on(data: Path) -> None:
    def parts(part: str) -> set[str]:
        recipe = Recipe(data, 1, part)  # type: ignore[arg-type]
        days = composed_circuits(recipe, 30, ("house", "appliances"))
        return {name for day in days if day.kind != "laptop" for name in day.parts}

    assert not parts("tune") & parts("report")


@recordings
def test_single_loads_are_found_and_appliances_stay_quiet(data: Path) -> None:
    """Half of what was measured on the day this was written: a guard, not the figure."""
    table = score_single_loads(data, seed=1)
    found = [row for row in table.rows if row[0] == "complete" and row[1] == "read each 1 min"]
    assert sum(int(row[4] or 0) for row in found) >= 6
    appliances = figures(table, "appliance", "false: every day")
    assert int(str(appliances["false"])) <= 10
    assert figures(table, "robot vacuum", "false: every day")["false"] == 0
    plugs = list(single_loads(data, 1))
    assert len(plugs) == 3 * 3 * 4 * 3 + 81 + 1


@recordings
def test_composed_circuits_are_scored_better_than_by_the_naive_shape_rule(data: Path) -> None:
    """The naive rule found 5 % on appliances and none on a household."""
    table = score_circuits(data, seed=1, days=20)
    assert int(str(figures(table, "appliances", "every charge")["found"])) >= 2
    with pytest.raises(ValueError, match="--alerts"):
        evaluate_set("circuits", data, predictions=Path("p.csv"))


@recordings
def test_the_engine_says_what_the_kind_says(data: Path) -> None:
    circuits = list(composed_circuits(Recipe(data, 1, "report"), 4))
    shown = circuit_readings(circuits)
    through = run_rules(shipped_rulebook(), "circuit_meter", shown, (RULE,))
    names = [circuit.name for circuit in circuits]
    power = np.array([circuit.power_w for circuit in circuits])
    direct = list(drive(FlyingWire(), RULE, names, minute_times(), power))
    assert direct
    assert set(through) == set(direct)


@recordings
def test_skab_gives_the_published_figures_of_known_predictions(data: Path, tmp_path: Path) -> None:
    runs = [run for run in experiments(data, 1) if run.labelled]
    file = tmp_path / "p.csv"
    rows = [f"{run.file},{row},1" for run in runs for row in range(571, min(974, len(run.anomaly)))]
    file.write_text("\n".join(["file,row,flag", *rows]) + "\n")
    table = evaluate_set("skab", data, predictions=file)
    assert figure(table, "test rows") == 14_658
    assert figure(table, "anomalous rows") == 7_814
    assert figure(table, "F1") == pytest.approx(0.922, abs=5e-4)
    assert figure(table, "FAR") == pytest.approx(0.0935, abs=5e-5)
    assert figure(table, "MAR") == pytest.approx(0.0752, abs=5e-5)
    assert figure(table, "faults hit") == 19


@recordings
def test_skab_is_cut_and_its_clocks_are_shifted_by_the_seed(data: Path) -> None:
    one, again, other = (experiments(data, seed) for seed in (1, 1, 2))
    assert [run.cut for run in one] == [run.cut for run in again]
    assert [run.cut for run in one] != [run.cut for run in other]
    assert all(0 <= run.cut <= 150 for run in one)
    assert one[0].time_us[0] != other[0].time_us[0]


def test_an_unknown_set_is_refused_with_the_nearest_word() -> None:
    with pytest.raises(LookupError, match="circuits"):
        evaluate_set("circuit", Path("nowhere"))
