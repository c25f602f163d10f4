"""The native dialect: what it says decodes to, and that nothing hostile gets out of it."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dialect import Decoded, Flaw, Inbound, Observation, RefusedError, Signal
from ingest.dialects.native import (
    DIALECT,
    Pack,
    encode_birth,
    encode_event,
    encode_up,
    encode_will,
)
from ingest.metrics import CATALOGUE
from ingest.readings import Flag

T_MS = 1_790_000_000_000


def decode(payload: bytes, level: str = "up", principal: str = "gw-1") -> Decoded:
    message = Inbound(f"courtyard/v1/{principal}/{level}", payload, T_MS * 1_000)
    return DIALECT.decode(message, {})


def test_rows_take_the_time_of_the_message_and_their_own_offset() -> None:
    payload = encode_up(
        "b1", 7, T_MS, [("port.1", "power.active", 812.4), ("main", "temperature", 21, -2000)]
    )
    decoded = decode(payload)
    assert decoded.observations == [
        Observation("", "port.1", "power.active", 812.4, T_MS * 1_000),
        Observation("", "main", "temperature", 21.0, (T_MS - 2_000) * 1_000),
    ]
    assert decoded.key == "gw-1|b1|7"


def test_a_pack_is_one_series_as_columns() -> None:
    payload = encode_up("b1", 8, T_MS, packs=[Pack("main", "pressure", [0, 1_000], [340.1, 340.2])])
    assert [(o.value, o.time_us) for o in decode(payload).observations] == [
        (340.1, T_MS * 1_000),
        (340.2, T_MS * 1_000 + 1_000_000),
    ]


def test_a_gateway_names_the_child_it_speaks_for() -> None:
    payload = encode_up("b1", 1, T_MS, [("main", "power.active", 1)], device="meter-7")
    assert decode(payload).observations[0].device == "meter-7"


def test_states_come_by_their_words() -> None:
    decoded = decode(encode_up("b", 1, T_MS, [("port.1", "state.relay", "closed")]))
    assert decoded.observations[0].value == 1.0


def test_one_bad_value_costs_only_itself() -> None:
    rows = [["main", "power.active", "x"], ["main", "nonsense", 1], ["main", "voltage", 230], [3]]
    decoded = decode(json.dumps({"v": 1, "boot": "b", "seq": 1, "t": T_MS, "m": rows}).encode())
    assert [o.metric for o in decoded.observations] == ["voltage"]
    assert [flaw.where for flaw in decoded.flaws] == ["m", "main power.active", "main nonsense"]


def test_a_boolean_is_no_number() -> None:
    decoded = decode(encode_up("b", 1, T_MS, [("main", "power.active", True)]))
    assert decoded.observations == []
    assert decoded.flaws == [Flaw("main power.active", "True is not a number")]


@pytest.mark.parametrize("t", [1_790_000_000, 1_790_000_000_000_000])
def test_a_time_of_another_unit_is_not_believed(t: int) -> None:
    (observation,) = decode(encode_up("b", 1, t, [("main", "voltage", 1)])).observations
    assert (observation.time_us, observation.flags) == (None, Flag.TS_UNIT)


def test_birth_describes_and_says_online() -> None:
    payload = encode_birth("b1", T_MS, [("main", "pressure", "kPa")], interval_s=30, model="X")
    decoded = decode(payload, "birth")
    assert decoded.signals == [Signal("", "online", "birth", T_MS * 1_000)]
    assert decoded.descriptors[0].interval_s == 30


def test_a_birth_with_a_foreign_unit_is_told() -> None:
    decoded = decode(encode_birth("b", T_MS, [("main", "pressure", "MPa")]), "birth")
    assert decoded.flaws == [Flaw("main pressure", "unit is kPa, not MPa")]


def test_an_event_keeps_its_id_and_data() -> None:
    payload = encode_event("b", 3, T_MS, id="e1", kind="ebike", phase="start", data={"score": 0.8})
    (sighting,) = decode(payload, "ev").sightings
    assert (sighting.id, sighting.kind, sighting.data) == ("e1", "ebike", {"score": 0.8})


def test_the_will_says_offline() -> None:
    assert decode(encode_will("b", "offline"), "will").signals == [Signal("", "offline", "will")]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty payload"),
        (b"{", "not a native up"),
        (b'{"v":1,"t":NaN}', "not a native up"),
        (b'{"v":2,"m":[]}', "schema version 2"),
        (b"[" * 5_000, "not a native up"),
        (b'{"v":1,"x":' + b"[" * 5_000, "not a native up"),
        (b"\xff\xfe", "not a native up"),
        (json.dumps({"m": [["a", "voltage", 1]] * 2_001}).encode(), "more than 2000 values"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        decode(payload)


@pytest.mark.parametrize("topic", ["courtyard/v1/x/upp", "courtyard/v2/x/up", "a/b", "", "/" * 9])
def test_a_foreign_topic_is_refused(topic: str) -> None:
    with pytest.raises(RefusedError):
        DIALECT.decode(Inbound(topic, b"{}", 0), {})


@given(st.binary(max_size=200), st.sampled_from(["up", "birth", "ev", "will"]))
def test_no_bytes_raise_anything_but_a_refusal(payload: bytes, level: str) -> None:
    with contextlib.suppress(RefusedError):
        decode(payload, level)


values = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53))
gauges = st.sampled_from([m.word for m in CATALOGUE.values() if m.form != "state"])


@given(st.lists(st.tuples(st.text(max_size=8), gauges, values, st.integers(-9_999, 9_999))))
def test_decoding_gives_back_what_was_encoded(rows: list[tuple[str, str, float, int]]) -> None:
    decoded = decode(encode_up("b", 1, T_MS, rows))
    assert decoded.flaws == []
    assert [tuple(o) for o in decoded.observations] == [
        ("", channel, metric, float(value), (T_MS + dt) * 1_000, 0)
        for channel, metric, value, dt in rows
    ]
