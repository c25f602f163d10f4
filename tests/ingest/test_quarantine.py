from hypothesis import given
from hypothesis import strategies as st

from ingest.dialect import Inbound
from ingest.quarantine import SAMPLES, WINDOW_US, Samples, quarantined

HOUR_US = WINDOW_US


def test_so_many_samples_are_kept_and_the_others_told_later() -> None:
    samples = Samples()
    answers = [samples.admit("m1", "undecodable", at_us) for at_us in range(SAMPLES + 7)]
    assert answers == [""] * SAMPLES + [None] * 7
    assert samples.admit("m2", "undecodable", 50) == ""
    assert samples.admit("m1", "too_old", 50) == ""
    assert samples.admit("m1", "undecodable", HOUR_US) == " (and 7 more before, counted only)"
    assert samples.admit("m1", "undecodable", HOUR_US + 1) == ""


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, HOUR_US // 3)),
        max_size=120,
    ),
    st.integers(1, 4),
)
def test_samples_are_those_of_the_obvious_model(
    refused: list[tuple[str, str, int]], limit: int
) -> None:
    samples, at_us = Samples(), 0
    windows: dict[tuple[str, str], tuple[int, int, int]] = {}
    for who, reason, later_us in refused:
        at_us += later_us
        since, kept, missed = windows.get((who, reason), (at_us, 0, 0))
        if at_us - since >= HOUR_US:
            since, kept = at_us, 0
        answer = samples.admit(who, reason, at_us, limit)
        if kept < limit:
            assert answer == (f" (and {missed} more before, counted only)" if missed else "")
            windows[who, reason] = (since, kept + 1, 0)
        else:
            assert answer is None
            windows[who, reason] = (since, kept, missed + 1)


def test_nobodys_flood_of_one_reason_fills_everything() -> None:
    samples = Samples()
    kept = sum(samples.admit(f"fake{n}", "unknown_principal", n) == "" for n in range(5_000))
    assert kept == 2_000
    assert samples.admit("m1", "undecodable", 1) == ""


def test_memory_is_bounded() -> None:
    samples = Samples()
    for n in range(50_000):
        samples.admit(f"fake{n}", "unknown_principal", n)
    assert len(samples._tallies) <= 20_000


@given(st.text(max_size=700), st.text(max_size=700), st.binary(max_size=6_000))
def test_a_row_is_bounded_and_always_utf8(topic: str, detail: str, payload: bytes) -> None:
    row = quarantined(Inbound(topic, payload, 7), "\ud800", "reason", detail)
    for text in (row.topic, row.principal, row.detail):
        text.encode()
        assert len(text) <= 500
    assert len(row.payload) <= 4_096
    assert (row.size, row.arrival_us) == (len(payload), 7)
