"""Batches as hypothesis makes them, and a way to compare them."""

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ingest.changes import Change
from ingest.inputs import Control, Event, Inputs, Presence
from ingest.journal import Batch, Print, Quarantined
from ingest.readings import Readings, Series, SeriesTable

words = st.text("abcdefghij.:_-1234567890桩泵", min_size=1, max_size=12)
times = st.integers(0, 2**52)
numbers = st.floats(allow_nan=False, width=64)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(words, json_values, max_size=3)
series = st.builds(Series, words, words, words, words)

events = st.builds(
    Event,
    words,
    words,
    words,
    words,
    words,
    st.sampled_from(["start", "update", "end"]),
    times,
    times,
    st.integers(0, 255),
    json_objects,
)
presences = st.builds(
    Presence,
    words,
    words,
    st.sampled_from(["online", "offline", "asleep"]),
    st.sampled_from(["birth", "will", "availability", "session"]),
    times,
    times,
    st.integers(0, 255),
)
controls = st.builds(Control, st.integers(1, 2**40), words, times, json_objects)
changes = st.builds(
    Change,
    words,
    words,
    words,
    words,
    words,
    st.sampled_from(["urgent", "serious", "warning", "info"]),
    st.sampled_from(["people", "review"]),
    st.sampled_from(["firing", "resolved", "unknown", "known"]),
    times,
    times,
    times,
    words,
    words,
    json_objects,
)
prints = st.builds(
    Print, st.integers(1, 5), st.integers(1, 65_535), st.binary(min_size=16, max_size=16)
)
quarantined = st.builds(
    Quarantined, times, words, words, words, words, st.binary(max_size=40), st.integers(0, 10**9)
)


@st.composite
def readings(draw: st.DrawFn, series_count: int) -> Readings:
    n = draw(st.integers(0, 40)) if series_count else 0

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n, max_size=n))

    return Readings.of(
        column(times),
        column(times),
        column(st.integers(0, max(0, series_count - 1))),
        column(numbers),
        column(st.integers(0, 255)),
    )


@st.composite
def batch_runs(draw: st.DrawFn, max_batches: int = 6) -> list[Batch]:
    """Batches 1 … n that could be committed one after the other to an empty journal."""
    table, made, now_us = SeriesTable(), [], draw(times)
    for number in range(1, draw(st.integers(1, max_batches)) + 1):
        known = len(table)
        for row in draw(st.lists(series, max_size=3)):
            table.number(row)
        now_us += draw(st.integers(0, 10**9))
        inputs = Inputs(
            draw(readings(len(table))),
            tuple(draw(st.lists(events, max_size=2))),
            tuple(draw(st.lists(presences, max_size=2))),
            tuple(draw(st.lists(controls, max_size=2))),
            tuple(table.rows[known:]),
        )
        made.append(
            Batch(
                number,
                now_us,
                inputs,
                tuple(draw(st.lists(changes, max_size=3))),
                tuple(draw(st.lists(prints, max_size=3))),
                tuple(draw(st.lists(quarantined, max_size=2))),
            )
        )
    return made


def plain(value: Any) -> Any:
    """Whatever a batch is made of as lists and dicts that can be compared."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def batch_of(number: int, now_us: int, *, new: tuple[Series, ...] = (), n: int = 0) -> Batch:
    """A batch with `n` readings of series 0 … n-1, one µs apart."""
    rows = list(range(n))
    return Batch(
        number,
        now_us,
        Inputs(
            Readings.of([now_us + row for row in rows], [now_us] * n, rows, [1.5] * n, [0] * n),
            new_series=new,
        ),
    )


def change_of(episode: str, state: Any = "firing", at_us: int = 1) -> Change:
    return Change(
        episode,
        "R",
        "s",
        "d",
        "main",
        "warning",
        "people",
        state,
        at_us,
        1,
        1,
        "中",
        "en",
        {"x": 1},
    )
