"""Times and durations as people write them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import Clock, format_duration, format_us, parse_duration_s, parse_us


def test_times_are_written_in_utc_with_milliseconds() -> None:
    assert format_us(1_790_000_000_123_456) == "2026-09-21T14:13:20.123Z"
    assert parse_us("2026-09-21T22:13:20.123+08:00") == 1_790_000_000_123_000
    assert parse_us("2026-09-21 14:13:20") == 1_790_000_000_000_000


@given(st.integers(0, 4_000_000_000_000))
def test_a_written_time_reads_back(time_ms: int) -> None:
    assert parse_us(format_us(time_ms * 1_000)) == time_ms * 1_000


@given(st.integers(0, 10_000_000))
def test_a_written_duration_reads_back(seconds: int) -> None:
    assert parse_duration_s(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "1.5h", "-3s", "5 m", "10y", "²s"])
def test_what_is_no_duration_says_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="as 10m"):
        parse_duration_s(text)


def test_a_simulated_clock_runs_at_its_speed_from_its_start() -> None:
    wall0_us = time.time_ns() // 1_000 - 10_000_000
    clock = Clock(start_us=0, speed=60.0, wall0_us=wall0_us)
    assert clock.simulated
    assert clock.now_us() >= 600_000_000
    assert clock.wall_s(60.0) == 1.0
    assert not Clock().simulated
