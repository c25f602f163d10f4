"""The view in memory: what it shows of a journal, however the journal is cut into pieces."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import follower
from api.follower import NEVER_US, View, advance, begin
from ingest.changes import Change, ChangeState
from ingest.inputs import Inputs, Presence
from ingest.journal import Batch
from ingest.readings import NOT_FRESH, Flag, Readings, Series, SeriesTable
from tests.api.community import Value, community

SERIES = [Series("s", device, "main", metric) for device in "abc" for metric in ("flow", "level")]


class Row(NamedTuple):
    series: int
    time_us: int
    value: float
    flags: int


class Stood(NamedTuple):
    change: Change
    resolved_us: int | None


def change_of(episode: str, state: ChangeState, at_us: int) -> Change:
    return Change(
        episode, "rule", "s", "a", "main", "serious", "people", state, at_us, 1, 0, "中", "en"
    )


def batches_of(groups: list[list[Row]]) -> list[Batch]:
    """Series get their numbers in the order in which they first come in."""
    table, batches = SeriesTable(), []
    for number, rows in enumerate(groups, 1):
        before = len(table)
        numbers = [table.number(SERIES[row.series]) for row in rows]
        readings = Readings.of(
            [row.time_us for row in rows],
            [number] * len(rows),
            numbers,
            [row.value for row in rows],
            [row.flags for row in rows],
        )
        batches.append(
            Batch(number, number, Inputs(readings, new_series=tuple(table.rows[before:])))
        )
    return batches


def newest(groups: list[list[Row]]) -> dict[Series, float]:
    """The slow model: the newest fresh reading of each series, the later one if two are as new."""
    found: dict[Series, tuple[int, float]] = {}
    for row in (row for group in groups for row in group):
        known = found.get(SERIES[row.series])
        if not row.flags & NOT_FRESH and (known is None or row.time_us >= known[0]):
            found[SERIES[row.series]] = (row.time_us, row.value)
    return {series: value for series, (_, value) in found.items()}


def shown(view: View) -> dict[Series, float]:
    return {
        series: float(view.latest.value[k])
        for k, series in enumerate(view.series)
        if view.latest.time_us[k] != NEVER_US
    }


ROWS = st.lists(
    st.lists(
        st.builds(
            Row,
            st.integers(0, len(SERIES) - 1),
            st.integers(0, 5),
            st.floats(-9, 9),
            st.sampled_from([0, 0, 0, Flag.LATE, Flag.RETAINED, Flag.TS_MISSING]),
        ),
        max_size=6,
    ),
    min_size=1,
    max_size=8,
)


@given(ROWS, st.integers(0, 8))
def test_the_newest_fresh_value_of_each_series_is_shown_however_batches_are_read(
    groups: list[list[Row]], cut: int
) -> None:
    batches = batches_of(groups)
    view = advance(advance(View(), batches[:cut]).view, batches[cut:]).view
    assert shown(view) == newest(groups)
    assert view.batch == len(batches)


@given(ROWS, st.integers(0, 8))
def test_beginning_from_a_snapshot_is_as_following_from_the_start(
    groups: list[list[Row]], cut: int
) -> None:
    batches = batches_of(groups)
    cut = min(cut, len(batches))
    table = SeriesTable.of(s for b in batches for s in b.inputs.new_series)
    early = advance(View(), batches[:cut]).view
    known = np.flatnonzero(early.latest.time_us != NEVER_US)
    begun = begin(cut, early.latest.take(known), table, [])
    late = advance(begun, batches[cut:]).view
    assert shown(late) == newest(groups)


def test_a_step_names_the_series_that_it_changed() -> None:
    batches = batches_of([[Row(0, 5, 1.0, 0), Row(1, 5, 1.0, 0)], [Row(1, 4, 2.0, 0)]])
    first = advance(View(), batches[:1])
    assert first.touched == {0, 1}
    assert advance(first.view, batches[1:]).touched == frozenset()


def test_the_columns_of_an_earlier_view_stay_as_they_were() -> None:
    batches = batches_of([[Row(0, 1, 1.0, 0)], [Row(0, 2, 2.0, 0)]])
    before = advance(View(), batches[:1]).view
    advance(before, batches[1:])
    assert shown(before) == {SERIES[0]: 1.0}


def test_an_alert_keeps_its_steps_and_its_end() -> None:
    steps = [change_of("e", "firing", 1), change_of("e", "unknown", 2), change_of("e", "known", 3)]
    end = change_of("e", "resolved", 4)
    batches = [Batch(n, n, Inputs(Readings.empty()), (c,)) for n, c in enumerate([*steps, end], 1)]
    view = advance(View(), batches[:3]).view
    assert view.alerts["e"].open
    view = advance(view, batches[3:]).view
    assert view.alerts["e"].resolved_us == 4
    assert view.alerts["e"].steps == (*steps, end)


def test_changes_that_the_table_had_already_are_not_told_backwards() -> None:
    firing, resolved = change_of("e", "firing", 1), change_of("e", "resolved", 9)
    view = begin(0, Readings.empty(), SeriesTable(), [Stood(resolved, 9)])
    view = advance(view, [Batch(1, 1, Inputs(Readings.empty()), (firing,))]).view
    assert not view.alerts["e"].open


def test_resolved_alerts_are_bounded_and_open_ones_stay() -> None:
    many = follower.CLOSED_ALERTS + 10
    changes = tuple(change_of(f"e{n}", "resolved", n) for n in range(many))
    opened = change_of("open", "firing", 0)
    view = advance(View(), [Batch(1, 1, Inputs(Readings.empty()), (opened, *changes))]).view
    assert len(view.alerts) == follower.CLOSED_ALERTS + 1
    assert "open" in view.alerts
    assert "e0" not in view.alerts


def test_the_last_word_about_presence_counts() -> None:
    online = Presence("s", "a", "online", "birth", 1, 1)
    offline = dataclasses.replace(online, state="offline", source="will")
    batch = Batch(1, 1, Inputs(Readings.empty(), presences=(online, offline)))
    assert advance(View(), [batch]).view.presence["a"].state == "offline"


async def test_a_follower_that_fails_says_so_and_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "RETRY_S", 0.01)
    told: list[int] = []
    lost: list[str] = []
    again = asyncio.Event()

    def tell(step: follower.Step) -> None:
        told.append(step.view.batch)
        if len(told) == 1:
            raise RuntimeError("as a test wants it")
        again.set()

    with community(tmp_path) as town:
        town.hear(Value("pump-1", "main", "pressure", 1.0))
        made = follower.Follower(town.reader, tell, lambda: lost.append("lost"))
        first = asyncio.Event()
        task = asyncio.create_task(made.run(first))
        await first.wait()
        async with asyncio.timeout(60):
            await again.wait()
        assert made.problem is None
        assert lost == ["lost"]
        assert shown(made.view)[Series("rihuali", "pump-1", "main", "pressure")] == 1.0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        made.close()
