"""Which time counts: the columns against the policy said row by row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.readings import Flag
from ingest.timestamps import NO_TIME, UNSET_US, judge

S = 1_000_000
ARRIVAL_US = 1_790_000_000 * S


def judged(device_us: int | None, flags: int = 0) -> tuple[int, Flag, bool, bool]:
    column = np.array([NO_TIME if device_us is None else device_us], np.int64)
    result = judge(column, np.array([ARRIVAL_US]), np.array([flags], np.uint16))
    return (
        int(result.time_us[0]),
        Flag(int(result.flags[0])),
        bool(result.too_old[0]),
        bool(result.far_ahead[0]),
    )


def test_a_believable_time_counts() -> None:
    for age_s in (0, 599, 600, -119, -120):
        device_us = ARRIVAL_US - age_s * S
        assert judged(device_us) == (device_us, Flag(0), False, False)


def test_no_time_means_arrival() -> None:
    assert judged(None) == (ARRIVAL_US, Flag.TS_MISSING, False, False)


def test_a_clock_that_was_never_set_means_arrival() -> None:
    for device_us in (0, -1, 946_684_800 * S, UNSET_US - 1):
        assert judged(device_us) == (ARRIVAL_US, Flag.TS_UNSET, False, False)


def test_a_clock_ahead_means_arrival_and_a_day_ahead_is_told() -> None:
    assert judged(ARRIVAL_US + 121 * S) == (ARRIVAL_US, Flag.CLOCK_AHEAD, False, False)
    assert judged(ARRIVAL_US + 2 * 86_400 * S) == (ARRIVAL_US, Flag.CLOCK_AHEAD, False, True)


def test_a_late_reading_keeps_its_time_and_beyond_35_days_it_is_refused() -> None:
    late_us = ARRIVAL_US - 601 * S
    assert judged(late_us) == (late_us, Flag.LATE, False, False)
    assert judged(ARRIVAL_US - 36 * 86_400 * S)[2]


def test_a_time_of_the_wrong_unit_means_arrival() -> None:
    assert judged(ARRIVAL_US - 5 * S, Flag.TS_UNIT)[:2] == (ARRIVAL_US, Flag.TS_UNIT)


def plain(device_us: int | None) -> tuple[int, Flag]:
    if device_us is None:
        return ARRIVAL_US, Flag.TS_MISSING
    if device_us < UNSET_US:
        return ARRIVAL_US, Flag.TS_UNSET
    if device_us > ARRIVAL_US + 120 * S:
        return ARRIVAL_US, Flag.CLOCK_AHEAD
    if device_us < ARRIVAL_US - 600 * S:
        return device_us, Flag.LATE
    return device_us, Flag(0)


@given(st.lists(st.none() | st.integers(-(2**62), 2**62) | st.integers(-700, 700), min_size=1))
def test_columns_say_what_rows_say(times: list[int | None]) -> None:
    times = [ARRIVAL_US + t * S if t is not None and abs(t) <= 700 else t for t in times]
    device_us = np.array([NO_TIME if t is None else t for t in times], np.int64)
    n = len(times)
    result = judge(device_us, np.full(n, ARRIVAL_US), np.zeros(n, np.uint16))
    got = [(int(t), Flag(int(f))) for t, f in zip(result.time_us, result.flags, strict=True)]
    assert got == [plain(t) for t in times]
