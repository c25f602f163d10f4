import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest import gathering, quarantine
from ingest import pipeline as pipeline_module
from ingest.changes import Change
from ingest.clock import Clock
from ingest.dialect import Decoded, Inbound, Observation, State
from ingest.dialects.native import DIALECT, encode_birth, encode_event, encode_up, encode_will
from ingest.inputs import Control, Inputs
from ingest.journal import Batch, JournalError, Print, Quarantined, follow
from ingest.mqtt import NOT_UTF8, Listener, MqttConfig
from ingest.pipeline import Pipeline
from ingest.readings import Flag, Series
from ingest.segments import SegmentWriter, open_reader, open_writer
from tests.ingest.batches import change_of, plain
from tests.ingest.community import T0_MS, T0_US, Bench, Engine, S, registry
from tests.publisher import Publisher
from tests.raw_broker import RawBroker
from tests.servers import Mosquitto, Relay, wait_until

UP = "courtyard/v1/m1/up"
POWER = ("main", "power.active", 812.5)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SegmentWriter]:
    writer = open_writer(tmp_path / "journal")
    yield writer
    writer.close()


@pytest.fixture
def bench(journal: SegmentWriter) -> Bench:
    return Bench(journal)


def committed(bench: Bench) -> Batch:
    """The batch of a turn that must have made one."""
    batch = bench.pipeline.turn()
    assert batch is not None
    return batch


def only(batch: Batch) -> Quarantined:
    assert len(batch.quarantined) == 1, [(q.reason, q.detail) for q in batch.quarantined]
    return batch.quarantined[0]


def test_a_message_becomes_readings_is_judged_kept_and_then_acknowledged(bench: Bench) -> None:
    bench.engine.answer = lambda inputs, now_us: (change_of("e"),) if len(inputs) else ()
    bench.up(1, POWER, ("main", "voltage", 231.0))
    bench.up(2, ("main", "power.active", 813.0))
    batch = committed(bench)
    readings = batch.inputs.readings
    assert readings.value.tolist() == [812.5, 231.0, 813.0]
    assert readings.series.tolist() == [0, 1, 0]
    assert readings.time_us.tolist() == [T0_US] * 3
    assert len(set(readings.arrival_us.tolist())) == 2
    assert readings.flags.tolist() == [0, 0, 0]
    assert batch.inputs.new_series == (
        Series("rihuali", "m1", "main", "power.active"),
        Series("rihuali", "m1", "main", "voltage"),
    )
    assert batch.changes == (change_of("e"),)
    assert [p.mid for p in batch.prints] == [1, 2]
    assert bench.engine.seen == [(batch.inputs, batch.now_us)]
    assert [d.mid for d in bench.feed.acked] == [1, 2]
    assert batch.quarantined == ()
    reader = open_reader(bench.journal._folder)
    assert plain(reader.read(0)) == plain([batch])
    reader.close()


def test_series_keep_their_numbers_over_a_restart(bench: Bench, journal: SegmentWriter) -> None:
    bench.up(1, POWER)
    committed(bench)
    later = Bench(journal)
    later.up(2, ("main", "voltage", 230.0), POWER)
    batch = committed(later)
    assert batch.inputs.readings.series.tolist() == [1, 0]
    assert [series.metric for series in batch.inputs.new_series] == ["voltage"]


def test_a_gateway_speaks_for_its_children_by_either_name(bench: Bench) -> None:
    bench.up(1, POWER, principal="g1", device="child1")
    bench.up(2, POWER, principal="g1", device="x-77")
    batch = committed(bench)
    assert {bench.journal.table.rows[n].device for n in batch.inputs.readings.series} == {"child1"}
    assert batch.inputs.readings.series.tolist() == [0, 0]


def test_nothing_is_committed_or_judged_while_nothing_happens(bench: Bench) -> None:
    bench.pipeline.turn()
    seen = len(bench.engine.seen)
    for _ in range(5):
        assert bench.pipeline.turn() is None
    assert len(bench.engine.seen) == seen


def test_without_traffic_the_engine_is_asked_every_second_and_its_word_is_kept(
    bench: Bench,
) -> None:
    bench.pipeline.turn()
    bench.clock.advance(S)
    assert bench.pipeline.turn() is None  # nothing to say, and less than a second has passed
    bench.clock.advance(S)
    bench.engine.answer = lambda inputs, now_us: (change_of("absent", at_us=now_us),)
    batch = committed(bench)
    assert (len(batch.inputs), len(batch.changes)) == (0, 1)
    assert batch.now_us == T0_US + 2 * S
    assert bench.pipeline.turn() is None


def test_an_idle_service_leaves_a_sign_of_life(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "COMMIT_EVERY_S", 0.0)
    for _ in range(3):
        bench.clock.advance(S)
        batch = committed(bench)
        assert batch.now_us == bench.clock.now_us()
    assert bench.journal.last == 3


def test_control_records_are_stamped_and_come_once(bench: Bench) -> None:
    records = [Control(7, "silence", 0, {"rule": "x"}), Control(8, "rulebook", 0, {"text": "…"})]
    bench.pipeline._controls = lambda: (records.pop(0),) if records else ()
    bench.up(1, POWER)
    batch = committed(bench)
    assert [control.id for control in batch.inputs.controls] == [7]
    (first,) = batch.inputs.controls
    assert T0_US <= first.arrival_us <= batch.now_us
    assert first.arrival_us != batch.inputs.readings.arrival_us[0]
    (second,) = committed(bench).inputs.controls
    assert second.id == 8
    assert second.arrival_us > batch.now_us


def test_a_full_batch_leaves_the_rest_to_the_next_and_ends_before_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "BATCH_READINGS", 5)
    records = [Control(1, "silence", 0, {})]
    for seq in range(10):
        bench.up(seq, POWER, ("main", "voltage", 230.0))
    bench.pipeline._controls = lambda: (records.pop(),) if records else ()
    batches = [committed(bench) for _ in range(4)]
    assert [len(batch.inputs.readings) for batch in batches] == [6, 6, 6, 2]
    for batch, later in pairwise(batches):
        assert batch.inputs.readings.arrival_us.max() <= batch.now_us
        assert later.inputs.readings.arrival_us.min() > batch.now_us
    # stamped after all of them, so it waits for the batch that holds that time
    assert [len(batch.inputs.controls) for batch in batches] == [0, 0, 0, 1]
    assert [d.mid for d in bench.feed.acked] == list(range(1, 11))


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    messages=st.lists(st.integers(0, 7), min_size=1, max_size=30),
    filled=st.integers(1, 12),
)
def test_however_batches_are_cut_the_same_readings_come_in_the_same_order(
    messages: list[int], filled: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_module, "BATCH_READINGS", filled)
        journal = open_writer(tmp_path_factory.mktemp("journal"))
        bench = Bench(journal)
        expected = []
        for seq, n in enumerate(messages):
            rows = [("main", "power.active", float(100 * seq + row)) for row in range(n)]
            bench.up(seq, *rows)
            expected += [row[2] for row in rows]
        found: list[float] = []
        while len(bench.feed.acked) < len(messages):
            batch = bench.pipeline.turn()
            found += batch.inputs.readings.value.tolist() if batch else []
        journal.close()
    assert found == expected


def test_events_and_presence_come_with_their_times_and_flags(bench: Bench) -> None:
    event = encode_event(
        "b1", 3, T0_MS - 5_000, id="a1", kind="cable_hanging", phase="start",
        channel="zone.facade", data={"score": 0.8},
    )  # fmt: skip
    bench.feed.put("courtyard/v1/m1/ev", event)
    birth = encode_birth("b1", T0_MS, [("main", "power.active", "W")], model="X", interval_s=30)
    bench.feed.put("courtyard/v1/m1/birth", birth, retain=True)
    bench.feed.put("courtyard/v1/m2/will", encode_will("b1", "offline"))
    batch = committed(bench)
    (kept,) = batch.inputs.events
    assert (kept.device, kept.kind, kept.id, kept.phase) == ("m1", "cable_hanging", "a1", "start")
    assert (kept.time_us, kept.flags, kept.data) == (T0_US - 5 * S, 0, {"score": 0.8})
    born, left = batch.inputs.presences
    assert (born.device, born.state, born.source) == ("m1", "online", "birth")
    assert born.flags == Flag.RETAINED
    assert (left.device, left.state, left.time_us) == ("m2", "offline", left.arrival_us)
    assert batch.quarantined == ()
    assert bench.pipeline.descriptors["m1"].model == "X"
    reader = open_reader(bench.journal._folder)
    assert plain(reader.read(0)) == plain([batch])
    reader.close()


# redelivery


def test_a_redelivered_message_is_acknowledged_and_not_stored_again(bench: Bench) -> None:
    payload = bench.up(1, POWER, mid=9)
    committed(bench)
    bench.feed.put(UP, payload, mid=9, dup=True)
    assert bench.pipeline.turn() is None
    assert bench.pipeline.counters.redelivered == 1
    assert [d.mid for d in bench.feed.acked] == [9, 9]


def test_a_redelivered_message_is_known_in_the_same_batch_and_after_a_restart(
    bench: Bench, journal: SegmentWriter
) -> None:
    payload = bench.up(1, POWER, mid=9)
    bench.feed.put(UP, payload, mid=9, dup=True)
    assert len(committed(bench).inputs.readings) == 1
    later = Bench(journal)
    later.feed.put(UP, payload, mid=9, dup=True)
    later.up(2, POWER, mid=10, dup=True)  # a redelivery that was never committed
    assert len(committed(later).inputs.readings) == 1
    assert later.pipeline.counters.redelivered == 1


def test_the_same_id_in_another_session_is_another_message(bench: Bench) -> None:
    bench.up(1, POWER, mid=9)
    committed(bench)
    bench.feed.waiting.epoch = 2
    bench.up(2, POWER, mid=9, dup=True)
    assert len(committed(bench).inputs.readings) == 1


def test_a_new_session_is_noted_before_it_brings_anything(
    bench: Bench, journal: SegmentWriter
) -> None:
    bench.feed.waiting.epoch = 5
    batch = committed(bench)
    assert batch.prints == (Print(5, 0, b""),)
    assert journal.prints.epoch == 5


def test_equal_payloads_without_dup_are_two_messages_unless_they_name_themselves(
    journal: SegmentWriter,
) -> None:
    bench = Bench(journal)
    unnamed = json.dumps({"v": 1, "m": [["main", "power.active", 0.0]]}).encode()
    bench.feed.put(UP, unnamed)
    bench.feed.put(UP, unnamed)
    named = bench.up(4, POWER)
    bench.feed.put(UP, named)  # the device had no answer in time, and said it again
    batch = committed(bench)
    assert batch.inputs.readings.value.tolist() == [0.0, 0.0, 812.5]
    assert bench.pipeline.counters.resent == 1
    assert len(bench.feed.acked) == 4


# what is refused


def refused(bench: Bench, topic: str, payload: bytes, **more: Any) -> Quarantined:
    """The one quarantined row, with good readings of others in the same batch let in."""
    bench.up(901, POWER, principal="m2")
    bench.feed.put(topic, payload, **more)
    bench.up(902, POWER, principal="m2")
    batch = committed(bench)
    assert batch.inputs.readings.value.tolist() == [812.5, 812.5]
    assert len(bench.feed.acked) == 3
    row = only(batch)
    assert (row.topic, row.size) == (topic, len(payload))
    assert bench.pipeline.counters.quarantined == {row.reason: 1}
    return row


@pytest.mark.parametrize(
    ("topic", "payload", "reason", "detail"),
    [
        (UP, b"{", quarantine.UNDECODABLE, "not a native up"),
        (UP, b"\xff\xfe", quarantine.UNDECODABLE, "not a native up"),
        (UP, b'{"v":1,"m":[["main","power.active",NaN]]}', quarantine.UNDECODABLE, "not a native"),
        (UP, b"[" * 100_000, quarantine.UNDECODABLE, "not a native up"),
        (UP, b"", quarantine.UNDECODABLE, "empty"),
        (UP, b'{"v":2}', quarantine.UNDECODABLE, "version 2"),
        (UP, b'{"v":1,"m":7}', quarantine.UNDECODABLE, "array"),
        (UP, b'{"v":1,"m":[["main","power.active","high"]]}', quarantine.BAD_PART, "'high'"),
        (UP, b'{"v":1,"m":[["main","power.active",true]]}', quarantine.BAD_PART, "not a number"),
        (UP, b'{"v":1,"m":[["main","power.active",null]]}', quarantine.BAD_PART, "not a number"),
        (UP, b'{"v":1,"m":[["main","power.activ",1]]}', quarantine.BAD_PART, "power.activ"),
        (
            "courtyard/v1/nobody/up",
            b"{}",
            quarantine.UNKNOWN_PRINCIPAL,
            "'nobody' is not in the registry of rihuali",
        ),
        ("courtyard/v1/stranger/up", b"{}", quarantine.DIALECT_NOT_ALLOWED, "native"),
        ("some/where/else", b"{}", quarantine.NO_DIALECT, "no dialect"),
        (UP, bytes(1_000_000), quarantine.TOO_LARGE, "1000000 bytes; at most 262144"),
        ("courtyard/v1/m1/ev", bytes(2_000_000), quarantine.TOO_LARGE, "at most 1048576"),
    ],
)
def test_a_message_that_cannot_be_used_ends_in_quarantine(
    bench: Bench, topic: str, payload: bytes, reason: str, detail: str
) -> None:
    row = refused(bench, topic, payload)
    assert row.reason == reason
    assert detail in row.detail


@pytest.mark.parametrize(
    ("principal", "device", "reason"),
    [
        ("m1", "ghost", quarantine.UNKNOWN_DEVICE),
        ("m1", "p1", quarantine.SPOOF_SUSPECT),
        ("m1", "child1", quarantine.SPOOF_SUSPECT),
        ("g1", "m1", quarantine.SPOOF_SUSPECT),
    ],
)
def test_nobody_speaks_for_what_is_not_its_own(
    bench: Bench, principal: str, device: str, reason: str
) -> None:
    payload = encode_up("b1", 1, T0_MS, [POWER], device=device)
    row = refused(bench, f"courtyard/v1/{principal}/up", payload)
    assert (row.reason, row.principal) == (reason, principal)
    assert device in row.detail


def test_nobody_sends_events_or_presence_for_what_is_not_its_own(bench: Bench) -> None:
    event = encode_event("b", 1, T0_MS, id="a", kind="alarm", phase="start", device="p1")
    bench.feed.put("courtyard/v1/m1/ev", event)
    bench.feed.put("courtyard/v1/m1/birth", encode_birth("b", T0_MS, [], device="ghost"))
    batch = committed(bench)
    assert len(batch.inputs) == 0
    assert [q.reason for q in batch.quarantined] == [
        quarantine.SPOOF_SUSPECT,
        quarantine.UNKNOWN_DEVICE,
    ]


def test_a_topic_that_is_not_utf8_ends_in_quarantine(bench: Bench) -> None:
    row = refused(bench, r"courtyard/v1/\xff/up", b"{}", refused=NOT_UTF8)
    assert row.reason == NOT_UTF8 == quarantine.TOPIC_NOT_UTF8


def test_a_value_out_of_bounds_costs_only_itself(bench: Bench) -> None:
    bench.up(1, POWER, ("main", "voltage", 1e9), ("main", "power_factor", -3.0))
    batch = committed(bench)
    assert batch.inputs.readings.value.tolist() == [812.5]
    row = only(batch)
    assert row.reason == quarantine.OUT_OF_BOUNDS
    assert "m1 main voltage = 1e+09, plausible is" in row.detail
    assert "power_factor = -3" in row.detail


class Sloppy:
    """A dialect from somewhere else that keeps no promise."""

    name = "native"
    filters = ("courtyard/v1/+/up",)

    def __init__(self, *observations: Observation, fault: Exception | None = None) -> None:
        self.observations = list(observations)
        self.fault = fault

    def decode(self, message: Inbound, state: State) -> Decoded:
        if self.fault is not None:
            raise self.fault
        principal = message.payload.decode() or "m1"
        return Decoded(principal, observations=list(self.observations))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 10**400, None, "high", [1]]
)
def test_what_is_no_finite_number_ends_in_quarantine(journal: SegmentWriter, value: Any) -> None:
    good = Observation("", "main", "power.active", 1.0, T0_US)
    bench = Bench(journal, (Sloppy(good, good._replace(value=value)),))
    bench.feed.put(UP, b"")
    batch = committed(bench)
    assert batch.inputs.readings.value.tolist() == [1.0]
    assert only(batch).reason == quarantine.NOT_A_NUMBER


@pytest.mark.parametrize("time_us", [None, 2**70, -(2**70), -(2**63), 2**63 - 1, 0, -1])
def test_a_senseless_time_counts_as_arrival(journal: SegmentWriter, time_us: int | None) -> None:
    bench = Bench(journal, (Sloppy(Observation("", "main", "power.active", 1.0, time_us)),))
    bench.feed.put(UP, b"")
    readings = committed(bench).inputs.readings
    assert readings.time_us.tolist() == readings.arrival_us.tolist()
    assert readings.flags[0] & (Flag.TS_MISSING | Flag.TS_UNSET | Flag.CLOCK_AHEAD)


def test_a_decoder_that_fails_stops_nothing(journal: SegmentWriter) -> None:
    bench = Bench(journal, (Sloppy(fault=ZeroDivisionError("by design")),))
    bench.feed.put(UP, b"")
    row = only(committed(bench))
    assert (row.reason, row.detail) == (
        quarantine.DECODER_FAULT,
        "native failed: ZeroDivisionError: by design",
    )


def test_a_message_that_names_another_principal_than_its_topic_is_suspect(
    journal: SegmentWriter,
) -> None:
    bench = Bench(journal, (Sloppy(Observation("", "main", "power.active", 1.0, T0_US)),))
    bench.feed.put(UP, b"m2")
    assert only(committed(bench)).reason == quarantine.SPOOF_SUSPECT


@pytest.mark.parametrize("channel", ["", "x" * 65, "a\nb", "a|b", "\ud800"])
def test_a_channel_must_be_a_name(journal: SegmentWriter, channel: str) -> None:
    bench = Bench(journal, (Sloppy(Observation("", channel, "power.active", 1.0, T0_US)),))
    bench.feed.put(UP, b"")
    assert only(committed(bench)).reason == quarantine.BAD_NAME


def test_a_metric_must_be_in_the_catalogue(journal: SegmentWriter) -> None:
    bench = Bench(journal, (Sloppy(Observation("", "main", "mood", 1.0, T0_US)),))
    bench.feed.put(UP, b"")
    assert only(committed(bench)).reason == quarantine.UNKNOWN_METRIC


def test_a_device_cannot_have_series_without_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "SERIES_PER_DEVICE", 3)
    bench.up(1, *((f"port.{n}", "power.active", 1.0) for n in range(6)))
    batch = committed(bench)
    assert len(batch.inputs.readings) == len(batch.inputs.new_series) == 3
    row = only(batch)
    assert row.reason == quarantine.TOO_MANY_SERIES
    assert "port.3" in row.detail


def test_event_data_that_the_journal_cannot_hold_ends_in_quarantine(bench: Bench) -> None:
    payload = b'{"v":1,"id":"a","kind":"alarm","data":{"x":%d}}' % 10**30
    row = refused(bench, "courtyard/v1/m1/ev", payload)
    assert row.reason == quarantine.BAD_EVENT


# clocks


def test_a_clock_that_was_never_set_counts_as_arrival_and_is_noted_once_an_hour(
    bench: Bench,
) -> None:
    for seq in range(5):
        bench.up(seq, POWER, time_ms=seq * 1_000)
    batch = committed(bench)
    readings = batch.inputs.readings
    assert readings.time_us.tolist() == readings.arrival_us.tolist()
    assert set(readings.flags.tolist()) == {int(Flag.TS_UNSET)}
    row = only(batch)
    assert row.reason == quarantine.CLOCK_UNSET
    assert "the clock of m1 was never set" in row.detail
    bench.clock.advance(3_599 * S)
    bench.up(6, POWER, time_ms=0)
    assert committed(bench).quarantined == ()
    bench.clock.advance(2 * S)
    bench.up(7, POWER, time_ms=0)
    assert "counted only" in only(committed(bench)).detail


def test_a_clock_far_ahead_counts_as_arrival_and_is_noted(bench: Bench) -> None:
    bench.up(1, POWER, time_ms=T0_MS + 3_650 * 86_400_000)
    bench.up(1, POWER, time_ms=T0_MS + 130_000, principal="m2")  # ahead, but not far
    batch = committed(bench)
    readings = batch.inputs.readings
    assert readings.time_us.tolist() == readings.arrival_us.tolist()
    assert readings.flags.tolist() == [int(Flag.CLOCK_AHEAD)] * 2
    assert only(batch).reason == quarantine.CLOCK_FAR_AHEAD


def test_seconds_for_milliseconds_count_as_arrival_and_are_noted(bench: Bench) -> None:
    bench.up(1, POWER, time_ms=T0_MS // 1_000)
    batch = committed(bench)
    assert batch.inputs.readings.flags[0] & Flag.TS_UNIT
    assert only(batch).reason == quarantine.CLOCK_UNIT


def test_a_late_reading_is_kept_and_one_too_old_is_not(bench: Bench) -> None:
    bench.up(1, POWER, time_ms=T0_MS - 34 * 86_400_000)
    bench.up(2, POWER, time_ms=T0_MS - 36 * 86_400_000)
    batch = committed(bench)
    assert batch.inputs.readings.flags.tolist() == [int(Flag.LATE)]
    row = only(batch)
    assert row.reason == quarantine.TOO_OLD
    assert "36.0 days old" in row.detail


def test_a_retained_replay_is_flagged_and_noted(bench: Bench) -> None:
    bench.up(1, POWER, retain=True)
    batch = committed(bench)
    assert batch.inputs.readings.flags.tolist() == [int(Flag.RETAINED)]
    assert only(batch).reason == quarantine.RETAINED


def test_what_is_refused_for_ever_is_sampled_and_counted(bench: Bench) -> None:
    for _ in range(100):
        bench.feed.put(UP, b"{")
    batch = committed(bench)
    assert len(batch.quarantined) == quarantine.SAMPLES
    assert bench.pipeline.counters.quarantined[quarantine.UNDECODABLE] == 100


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    payloads=st.lists(
        st.binary(max_size=60)
        | st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["v", "m", "p", "t", "d", "boot", "seq", "id", "kind", "data"]),
                    inner,
                )
            ),
        ).map(lambda value: json.dumps(value).encode()),
        min_size=1,
        max_size=12,
    ),
    level=st.sampled_from(["up", "birth", "ev", "will"]),
    retain=st.booleans(),
)
def test_hostile_payloads_stop_nothing(
    payloads: list[bytes],
    level: str,
    retain: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    journal = open_writer(tmp_path_factory.mktemp("journal"))
    bench = Bench(journal)
    for payload in payloads:
        bench.feed.put(f"courtyard/v1/m1/{level}", payload, retain=retain)
    bench.up(1, POWER, principal="m2")
    batch = committed(bench)
    assert len(bench.feed.acked) == len(payloads) + 1
    assert 812.5 in batch.inputs.readings.value
    journal.close()


# failures


def test_when_the_engine_fails_nothing_is_kept_or_acknowledged(bench: Bench) -> None:
    def fail(inputs: Inputs, now_us: int) -> tuple[Change, ...]:
        raise ArithmeticError("the engine is out of order")

    bench.engine.answer = fail
    bench.up(1, POWER)
    with pytest.raises(ArithmeticError):
        bench.pipeline.turn()
    assert bench.feed.aborted
    assert bench.feed.acked == []
    assert bench.journal.last == 0


def test_when_the_journal_fails_nothing_is_acknowledged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(batch: Batch) -> None:
        raise JournalError("disk full")

    monkeypatch.setattr(bench.journal, "commit", fail)
    bench.up(1, POWER)
    with pytest.raises(JournalError):
        bench.pipeline.run(threading.Event())
    assert bench.feed.aborted
    assert bench.feed.acked == []


def test_a_new_registry_counts_from_the_next_batch_on(bench: Bench) -> None:
    payload = encode_up("b1", 1, T0_MS, [POWER])
    assert refused(bench, "courtyard/v1/m9/up", payload).reason == quarantine.UNKNOWN_PRINCIPAL
    known = registry()
    devices = {**known.devices, "m9": replace(known.devices["m1"], id="m9", principal="m9")}
    principals = {**known.principals, "m9": replace(known.principals["m1"], name="m9")}
    bench.pipeline.use(
        type(known)(
            known.site, known.name, known.time_zone, known.households, known.buildings,
            devices, principals, "next",
        )
    )  # fmt: skip
    bench.feed.put("courtyard/v1/m9/up", payload)
    batch = committed(bench)
    assert batch.inputs.new_series == (Series("rihuali", "m9", "main", "power.active"),)


# with real servers

NOW_MS = time.time_ns() // 1_000_000


class Watch:
    """Listener, pipeline and journal in one thread's life, over a folder that outlives it."""

    def __init__(self, folder: Path, url: str, **config: Any) -> None:
        self.journal = open_writer(folder)
        clock = Clock()
        self.listener = Listener(
            MqttConfig(url, DIALECT.filters, **config),
            clock,
            epoch=self.journal.prints.epoch,
            after_us=self.journal.now_us,
        )
        self.engine = Engine()
        self.pipeline = Pipeline(
            self.listener,
            self.journal,
            registry(),
            (DIALECT,),
            self.engine.step,
            clock,
            prints=self.journal.prints,
        )
        self.stopping = threading.Event()
        self.failed: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.pipeline.run(self.stopping)
        except BaseException as error:
            self.failed = error

    def __enter__(self) -> "Watch":
        self.listener.start()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join(30)
        self.listener.stop()
        self.journal.close()

    def wait_for_readings(self, n: int) -> None:
        wait_until(
            lambda: self.pipeline.counters.readings >= n or self.failed is not None,
            f"{n} readings",
        )
        assert self.failed is None


def batches(folder: Path) -> list[Batch]:
    reader = open_reader(folder)
    try:
        return list(follow(reader, 0))
    finally:
        reader.close()


def values(folder: Path) -> list[float]:
    return [v for batch in batches(folder) for v in batch.inputs.readings.value.tolist()]


def numbered(start: int, stop: int) -> list[tuple[str, bytes]]:
    """Message n holds the one value n; no device clock can make two of them one."""
    return [
        (UP, encode_up("b1", n, NOW_MS, [("main", "power.active", float(n))]))
        for n in range(start, stop)
    ]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_everything_that_a_real_broker_acknowledged_is_kept_once(
    mosquitto: Mosquitto, tmp_path: Path, version: str
) -> None:
    folder = tmp_path / "journal"
    with Watch(folder, mosquitto.url, protocol=version) as watch:
        wait_until(lambda: watch.listener._subscribed, "subscribed")
        with Publisher(mosquitto.port) as publisher:
            publisher.publish(numbered(0, 3_000))
        watch.wait_for_readings(3_000)
        wait_until(lambda: watch.listener.counters.acknowledged >= 3_000, "acknowledged")
    assert values(folder) == [float(n) for n in range(3_000)]
    arrivals = [a for b in batches(folder) for a in b.inputs.readings.arrival_us.tolist()]
    assert arrivals == sorted(set(arrivals))


def test_a_run_that_ends_before_its_acknowledgements_doubles_nothing(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """Committed and not acknowledged, as after a kill between the two: all come again."""
    folder = tmp_path / "journal"
    with Watch(folder, mosquitto.url) as watch:
        wait_until(lambda: watch.listener._subscribed, "subscribed")
        watch.listener.ack = lambda deliveries: None  # type: ignore[method-assign]
        with Publisher(mosquitto.port) as publisher:
            publisher.publish(numbered(0, 500))
        watch.wait_for_readings(500)
    with Watch(folder, mosquitto.url) as watch:
        with Publisher(mosquitto.port) as publisher:
            publisher.publish(numbered(500, 600))
        watch.wait_for_readings(100)
        assert watch.pipeline.counters.redelivered == 500
        assert watch.listener.counters.lost_sessions == 0
    assert values(folder) == [float(n) for n in range(600)]


def test_restarts_of_the_broker_and_faults_on_the_way_lose_and_double_nothing(
    saving_mosquitto: Mosquitto, relay: Relay, tmp_path: Path
) -> None:
    folder, broker = tmp_path / "journal", saving_mosquitto
    with Watch(folder, relay.url, keepalive_s=1) as watch:
        wait_until(lambda: watch.listener._subscribed, "subscribed")
        with Publisher(broker.port) as publisher:
            publisher.publish(numbered(0, 1_000))
            relay.cut()
            publisher.publish(numbered(1_000, 2_000))
            wait_until(lambda: watch.listener.counters.connections == 2, "connected again")
            relay.cut()
            relay.latency_s = 0.002
            publisher.publish(numbered(2_000, 3_000))
        broker.restart()
        relay.latency_s = 0.0
        with Publisher(broker.port) as publisher:
            publisher.publish(numbered(3_000, 4_000))
        watch.wait_for_readings(4_000)
        assert watch.listener.counters.lost_sessions == 0
    assert sorted(values(folder)) == [float(n) for n in range(4_000)]


def test_a_commit_that_fails_ends_the_connection_and_the_next_run_has_all(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    with Watch(folder, mosquitto.url) as watch:
        wait_until(lambda: watch.listener._subscribed, "subscribed")

        def fail(batch: Batch) -> None:
            raise JournalError("disk full")

        watch.journal.commit = fail  # type: ignore[method-assign]
        with Publisher(mosquitto.port) as publisher:
            publisher.publish(numbered(0, 200))
        wait_until(lambda: watch.failed is not None, "the failure ends the run")
        assert isinstance(watch.failed, JournalError)
        wait_until(lambda: not watch.listener._thread.is_alive(), "the listener ends")
    with Watch(folder, mosquitto.url) as watch:
        watch.wait_for_readings(200)
    assert values(folder) == [float(n) for n in range(200)]


HOSTILE: dict[str, tuple[str, bytes]] = {
    quarantine.UNDECODABLE: (UP, b'{"v":1,"m":[["main","power.active",NaN]]}'),
    quarantine.BAD_PART: (UP, b'{"v":1,"m":[["main","power.active","high"]]}'),
    quarantine.UNKNOWN_PRINCIPAL: ("courtyard/v1/nobody/up", b"{}"),
    quarantine.UNKNOWN_DEVICE: (UP, encode_up("b", 1, NOW_MS, [POWER], device="ghost")),
    quarantine.SPOOF_SUSPECT: (UP, encode_up("b", 2, NOW_MS, [POWER], device="p1")),
    quarantine.TOO_LARGE: (UP, bytes(1_000_000)),
    quarantine.CLOCK_UNSET: (UP, encode_up("b", 3, 0, [POWER])),
    quarantine.CLOCK_FAR_AHEAD: (UP, encode_up("b", 4, 9_000_000_000_000, [POWER])),
    quarantine.OUT_OF_BOUNDS: (UP, encode_up("b", 5, NOW_MS, [("main", "voltage", 1e9)])),
}


def test_each_hostile_message_on_a_real_broker_ends_in_quarantine_and_nothing_stops(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    with Watch(folder, mosquitto.url) as watch:
        wait_until(lambda: watch.listener._subscribed, "subscribed")
        with Publisher(mosquitto.port) as publisher:
            publisher.publish(list(HOSTILE.values()))
            publisher.publish(numbered(7, 8))
        watch.wait_for_readings(3)
    kept = [q for batch in batches(folder) for q in batch.quarantined]
    assert [q.reason for q in kept] == list(HOSTILE)
    # the two with a wrong clock are kept at their time of arrival
    assert values(folder) == [POWER[2], POWER[2], 7.0]


def test_a_raw_brokers_topic_that_is_not_utf8_ends_in_quarantine_and_is_acknowledged(
    raw_broker: RawBroker, tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    with Watch(folder, raw_broker.url) as watch:
        raw_broker.wait_for("subscribe")
        raw_broker.publish(b"courtyard/v1/\xff\xfe/up", b"{}", 1)
        raw_broker.publish(UP.encode(), encode_up("b", 1, NOW_MS, [POWER]), 2)
        raw_broker.publish(UP.encode(), encode_up("b", 2, NOW_MS, [POWER]), 3, retain=True)
        raw_broker.wait_for("puback", 3)
        assert watch.failed is None
    kept = [q for batch in batches(folder) for q in batch.quarantined]
    assert [(q.reason, q.topic) for q in kept] == [
        (quarantine.TOPIC_NOT_UTF8, r"courtyard/v1/\xff\xfe/up"),
        (quarantine.RETAINED, UP),
    ]
    assert values(folder) == [POWER[2], POWER[2]]
