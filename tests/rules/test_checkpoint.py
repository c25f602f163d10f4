from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.changes import Change
from ingest.inputs import Inputs
from ingest.journal import Batch
from ingest.readings import Readings, Series, SeriesTable
from rules.checkpoint import CheckpointError, dump, label, load
from rules.engine import VERSION, start, step
from rules.recovery import Recovered, recover
from rules.rulebook import load_rulebook
from rules.state import State
from tests.rules.community import REGISTRY, RULES, T0, Item, S, begin, inputs, streams

BOOK = load_rulebook(
    "site.yaml",
    """
rules:
  - id: high
    on: {type: pump}
    when: pressure > 1 kPa
    for: 2s
    severity: warning
  - id: gone
    on: {type: pump}
    kind: absent
    after: 20s
    severity: info
""",
)


def _stream(*seconds: float, value: float = 2.0) -> list[Item]:
    series = Series("s", "p1", "main", "pressure")
    return [(T0 + int(at * S), T0 + int(at * S), series, value, 0) for at in seconds]


def _batches(state: State, table: SeriesTable, *parts: tuple[list[Item], int]) -> list[Batch]:
    made = []
    for number, (items, now) in enumerate(parts, 1):
        batch = inputs(items, table)
        state, changes = step(state, batch, now)
        made.append(Batch(number, now, batch, changes))
    return made


def _recorded() -> tuple[bytes, list[Batch]]:
    first = dump(start(BOOK, REGISTRY, T0))
    parts = [
        (_stream(1, 2, 3), T0 + 3 * S),
        (_stream(4), T0 + 5 * S),
        (_stream(6, value=0.0), T0 + 8 * S),
        (_stream(9, 10, 11, 12), T0 + 60 * S),
    ]
    return first, _batches(start(BOOK, REGISTRY, T0), SeriesTable(), *parts)


def _open(recovered: Recovered) -> int:
    alerts = recovered.state.alerts
    return int(alerts.firing[: alerts.n].sum())


def test_a_checkpoint_says_what_made_it() -> None:
    told = label(dump(start(BOOK, REGISTRY, T0), batch=7))
    assert (told.batch, told.engine, told.registry) == (7, VERSION, "v1")
    assert (told.rulebook_sha256, told.rulebook_file) == (BOOK.sha256, "site.yaml")


@settings(max_examples=10, deadline=None)
@given(streams())
def test_what_was_loaded_is_written_as_the_same_bytes(items: list[Item]) -> None:
    state, _ = step(begin(), inputs(items, SeriesTable()), T0 + 20 * S)
    once = dump(load(dump(state), RULES, REGISTRY))
    assert dump(load(once, RULES, REGISTRY)) == once


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_damage_anywhere_is_noticed(data: st.DataObject) -> None:
    whole = dump(start(BOOK, REGISTRY, T0))
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :]
    for damaged in (flipped, whole[:at], whole + b"x"):
        with pytest.raises(CheckpointError):
            load(damaged, BOOK, REGISTRY)


def test_another_registry_keeps_what_is_still_there_and_closes_the_rest() -> None:
    state = start(BOOK, REGISTRY, T0)
    series = Series("s", "p2", "main", "pressure")
    other: list[Item] = [
        (T0 + second * S, T0 + second * S, series, 2.0, 0) for second in range(1, 5)
    ]
    state, fired = step(state, inputs([*_stream(1, 2, 3, 4), *other], SeriesTable()), T0 + 4 * S)
    assert {change.device for change in fired} == {"p1", "p2"}
    devices = {name: one for name, one in REGISTRY.devices.items() if name != "p2"}
    state = load(dump(state), BOOK, replace(REGISTRY, devices=devices, version="v2"))
    _, changes = step(state, Inputs(Readings.empty()), T0 + 6 * S)
    told = [(change.device, change.rule, change.state, change.at_us) for change in changes]
    assert told == [("p2", "high", "resolved", T0 + 5 * S)]
    assert changes[0].episode == next(one.episode for one in fired if one.device == "p2")


def test_recovery_recomputes_what_was_recorded() -> None:
    checkpoint, batches = _recorded()
    recovered = recover(checkpoint, batches, REGISTRY)
    assert (recovered.batch, recovered.compared, recovered.differing) == (4, True, 0)
    assert [change.state for batch in batches for change in batch.changes if change.rule == "high"]


def test_recovery_from_a_later_checkpoint_skips_what_it_has() -> None:
    checkpoint, batches = _recorded()
    state = recover(checkpoint, batches[:2], REGISTRY).state
    recovered = recover(dump(state, batch=2), batches, REGISTRY)
    assert (recovered.batch, recovered.differing) == (4, 0)


def test_recorded_changes_are_the_truth() -> None:
    checkpoint, batches = _recorded()
    silent = [replace(batches[0], changes=())]
    recovered = recover(checkpoint, silent, REGISTRY)
    assert (recovered.differing, _open(recovered)) == (1, 0)
    assert recovered.differences[0].recomputed == batches[0].changes
    plain = recover(checkpoint, batches[:1], REGISTRY)
    assert (plain.differing, _open(plain)) == (0, 1)


def test_an_alert_that_only_the_record_knows_goes_on_and_ends_as_usual() -> None:
    checkpoint, batches = _recorded()
    high = batches[0].changes[0]
    quiet = inputs(_stream(1, 2, 3, 4, value=0.0), SeriesTable())
    recovered = recover(checkpoint, [Batch(1, T0 + 3 * S, quiet, (high,))], REGISTRY)
    assert (recovered.differing, _open(recovered)) == (1, 1)
    _, changes = step(recovered.state, Inputs(Readings.empty()), T0 + 5 * S)
    assert [(one.state, one.episode) for one in changes] == [("resolved", high.episode)]


def test_an_alert_of_a_rule_that_is_gone_is_closed() -> None:
    checkpoint, batches = _recorded()
    stray: Change = replace(batches[0].changes[0], rule="no_such_rule", episode="0" * 16)
    first = replace(batches[0], changes=(*batches[0].changes, stray))
    recovered = recover(checkpoint, [first], REGISTRY)
    _, changes = step(recovered.state, Inputs(Readings.empty()), T0 + 4 * S)
    assert [(one.rule, one.state) for one in changes] == [("no_such_rule", "resolved")]


def test_a_missing_batch_is_an_error() -> None:
    checkpoint, batches = _recorded()
    with pytest.raises(CheckpointError, match="batch 2 is missing: the next one is 3"):
        recover(checkpoint, [batches[0], *batches[2:]], REGISTRY)


def test_another_registry_is_not_compared() -> None:
    checkpoint, batches = _recorded()
    recovered = recover(checkpoint, batches, replace(REGISTRY, version="v2"))
    assert (recovered.compared, recovered.batch) == (False, 4)
