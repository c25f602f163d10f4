from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.changes import Change
from ingest.clock import US_PER_S
from response import wording
from tests.response.community import REGISTRY, START_US, change_of


def test_a_chinese_notice_says_what_where_and_since_when() -> None:
    assert wording.subject(change_of(), REGISTRY, "zh") == "【严重】7栋：供水压力低 210 kPa"
    assert wording.text(change_of(), REGISTRY, "zh") == (
        "供水压力低 210 kPa\n"
        "\n"
        "级别：严重\n"
        "地点：日华里 7栋 2单元\n"
        "设备：供水泵 (pump-7)\n"
        "起始：2026-09-21 22:11:20\n"
        "告警：2026-09-21 22:13:20\n"
        "规则：P10_supply_pressure_low\n"
        f"编号：{change_of().episode}\n"
    )


def test_an_english_notice_of_an_end_says_how_long_it_lasted() -> None:
    end = change_of("resolved", at_us=START_US + 3_725 * US_PER_S)
    assert wording.subject(end, REGISTRY, "en") == (
        "[Resolved] Building 7: Supply pressure low: 210 kPa"
    )
    text = wording.text(end, REGISTRY, "en")
    assert "Place: Rihuali, Building 7, stairwell 2\n" in text
    assert "Resolved: 2026-09-21 23:15:25 (1 h 2 min)\n" in text


def test_an_alert_of_no_device_of_the_site_names_what_it_knows() -> None:
    system = replace(change_of(), device="courtyard", channel="main")
    assert wording.subject(system, REGISTRY, "en").startswith("[Serious] Rihuali: ")
    assert "Device: courtyard\n" in wording.text(system, REGISTRY, "en")


def test_a_channel_other_than_main_is_named() -> None:
    port = replace(change_of(device="post-8"), channel="port.3")
    assert "设备：充电桩 (post-8/port.3)\n" in wording.text(port, REGISTRY, "zh")


def test_a_late_notice_says_so_first() -> None:
    said = wording.text(change_of(), REGISTRY, "en", delay_s=7_260)
    assert said.startswith("(This notice is 2 h 1 min late: ")


@pytest.mark.parametrize(
    ("seconds", "zh", "en"),
    [
        (0, "0 秒", "0 s"),
        (59.4, "59 秒", "59 s"),
        (60, "1 分钟", "1 min"),
        (3_600, "1 小时", "1 h"),
        (90_000, "1 天 1 小时", "1 d 1 h"),
        (-5, "0 秒", "0 s"),
    ],
)
def test_spans_read_as_people_say_them(seconds: float, zh: str, en: str) -> None:
    end = change_of("resolved", at_us=START_US + int(seconds * US_PER_S))
    assert wording.missed(end, REGISTRY, "zh").endswith(f"，持续 {zh}")
    assert wording.missed(end, REGISTRY, "en").endswith(f", lasted {en}")


def test_a_long_digest_says_how_many_lines_it_leaves_out() -> None:
    subject, text = wording.digest([(START_US, "x")] * 203, "Asia/Shanghai", "en")
    assert subject == "[Digest] 203 notices"
    assert text.count("  x\n") == 200
    assert text.endswith("… and 3 more\n")


@given(st.text(max_size=400), st.text(max_size=400))
def test_a_subject_is_one_short_line_whatever_a_rulebook_says(zh: str, en: str) -> None:
    change: Change = replace(change_of(), text_zh=zh, text_en=en)
    for language in ("zh", "en"):
        said = wording.subject(change, REGISTRY, language)
        assert said.isprintable()
        assert 0 < len(said) <= wording.SUBJECT_LENGTH
