"""The pages without script: what they say in both languages, and nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.words import LANGUAGES, PAGES, read_words
from ingest.clock import Clock
from ingest.journal import Quarantined
from ingest.metrics import CATALOGUE
from tests.api.community import Community, Value
from tests.api.test_api import followed

CHINESE = re.compile(r"[\u3400-\u9fff\uff00-\uffef\u3000-\u303f]")


@pytest.fixture
def lively(town: Community, client: TestClient) -> dict[str, str]:
    """Paths of all pages of a town in which something happened, by name."""
    at_us = town.clock.now_us()
    town.hear_curve(("pump-1", "main", "pressure"), at_us - 3_000_000_000, 30, [340.0] * 90)
    alert = town.low_pressure(
        evidence={
            "values": {"pressure": 268.4, "state.run": 1.0},
            "likelihood_ratios": {"meter": 1.7, "ebike": 4.0},
            "minute_means_w": [float(n) for n in range(30)],
            "on_since": "2026-11-24T12:00:00.000Z",
            "taper": False,
        }
    )
    review = town.change(
        "flying_wire_meter",
        "meter-1",
        "像充电器",
        "like a charger",
        severity="info",
        audience="review",
    )
    over = town.change("CP01_post_offline", "post-1", "离线", "offline", ago_s=600)
    town.tell(alert)
    bad = Quarantined(
        at_us, "t/<b>", "gw-1", "bad_json", "<script>", b"<script>alert(1)</script>", 25
    )
    town.hear(
        Value("post-1", "port.2", "state.socket", 1.0),
        Value("post-1", "port.10", "state.socket", 0.0),
        changes=[alert, review, over],
        quarantined=[bad],
    )
    batch = town.hear(changes=[town.later(over, "resolved")])
    followed(client, batch)
    return {
        "home": "/",
        "devices": "/devices",
        "pumps": "/devices?type=pump",
        "device": "/devices/pump-1?show=main/pressure&range=1h",
        "week": "/devices/pump-1?range=7d",
        "post": "/devices/post-1",
        "silent": "/devices/gw-1",
        "building": "/buildings/b7",
        "alert": f"/alerts/{alert.episode}",
        "over": f"/alerts/{over.episode}",
        "notices": "/notices",
        "quarantine": "/quarantine",
        "strip": "/fragments/strip",
        "inbox": "/fragments/inbox",
        "review": "/fragments/review",
        "plan": "/fragments/plan",
        "values": "/fragments/device/pump-1",
        "trend": "/fragments/trend/pump-1?show=main/pressure&range=24h",
        "device-alerts": "/fragments/device-alerts/pump-1",
        "building-part": "/fragments/building/b7",
        "alert-part": f"/fragments/alert/{alert.episode}",
        "notices-part": "/fragments/notices",
    }


class _Links(HTMLParser):
    """Collects what a page refers to, and what a strict policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.refers: list[str] = []
        self.refused: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src", "action", "formaction", "data-src", "srcset", "poster"}:
                self.refers.append(value or "")
            if name == "style" or name.startswith("on"):
                self.refused.append(f"{tag} {name}")
            if name == "id":
                self.ids.append(value or "")
        if tag == "style" or (tag == "script" and not dict(attrs).get("src")):
            self.refused.append(tag)


def test_every_page_works_and_asks_nothing_of_anybody_else(
    lively: dict[str, str], client: TestClient
) -> None:
    for name, path in lively.items():
        for language in LANGUAGES:
            answer = (
                client.get(path, params={"lang": language})
                if "?" not in path
                else client.get(f"{path}&lang={language}")
            )
            assert answer.status_code == 200, (name, answer.text)
            links = _Links()
            links.feed(answer.text)
            assert links.refused == [], name
            outside = [one for one in links.refers if not one.startswith(("/", "?", "#"))]
            assert outside == [], name
            assert "//" not in answer.text.replace("http://www.w3.org", ""), name
            assert len(links.ids) == len(set(links.ids)), (name, links.ids)


def test_every_link_of_ours_leads_somewhere(lively: dict[str, str], client: TestClient) -> None:
    links = _Links()
    for path in lively.values():
        links.feed(client.get(path).text)
    for link in sorted({one for one in links.refers if one.startswith("/")}):
        if "/ack" in link or link == "/who" or link.endswith("/comment"):
            continue
        assert client.get(link).status_code == 200, link


def test_chinese_is_the_default_and_english_is_remembered(
    lively: dict[str, str], client: TestClient
) -> None:
    page = client.get("/").text
    assert '<html lang="zh-CN">' in page
    assert "1 条告警等待接手" in page
    assert "7号楼供水压力低 268 kPa" in page
    assert "Supply pressure low in building 7" in client.get("/?lang=en").text
    assert '<html lang="en">' in client.get("/").text
    assert client.get("/fragments/strip").text.count("1 alert needs somebody") == 1


def test_english_pages_have_no_chinese_text_of_ours(
    lively: dict[str, str], client: TestClient
) -> None:
    switch = read_words().say("en", "language")
    for name in ("home", "device", "alert", "devices", "quarantine", "building", "post"):
        path = lively[name]
        text = client.get(path + ("&" if "?" in path else "?") + "lang=en").text
        left = CHINESE.findall(text.replace(switch, ""))
        assert left == [], name


def test_review_is_kept_apart_from_what_people_are_told(
    lively: dict[str, str], client: TestClient
) -> None:
    inbox = client.get("/fragments/inbox").text
    assert "供水压力低" in inbox
    assert "像充电器" not in inbox
    assert "像充电器" in client.get("/fragments/review").text


def test_hostile_text_is_shown_and_never_run(lively: dict[str, str], client: TestClient) -> None:
    page = client.get("/quarantine").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_plan_names_each_building_its_state_and_its_alerts(
    lively: dict[str, str], client: TestClient
) -> None:
    plan = client.get("/fragments/plan").text
    assert 'aria-label="7号楼：严重，1 条告警"' in plan
    assert 'href="/buildings/b8"' in plan
    assert "tile s-serious" in plan
    assert "tile s-ok" in plan


def test_a_trend_has_the_level_of_the_rule_and_the_mark_of_the_alert(
    lively: dict[str, str], client: TestClient
) -> None:
    trend = client.get(lively["trend"]).text
    assert "设定压力 340" in trend
    assert 'class="mark"' in trend
    assert "340" in trend.split("<tbody>")[1]
    assert trend.count("<svg") == 2


def test_sockets_stand_in_the_order_of_their_numbers(
    lively: dict[str, str], client: TestClient
) -> None:
    page = client.get("/devices/post-1").text
    assert page.index("port.2") < page.index("port.10")
    assert "充电中" in page


def test_evidence_is_in_words_with_contributions_and_a_curve(
    lively: dict[str, str], client: TestClient
) -> None:
    page = client.get(lively["alert"]).text
    for text in ("268.4 kPa", "运行", "电表曲线", "× 1.7", "2026-11-24 20:00:00", "每分钟平均功率"):
        assert text in page, text
    assert "trend spark" in page


def test_a_name_is_remembered_so_that_the_next_alert_needs_one_press(
    lively: dict[str, str], client: TestClient
) -> None:
    answer = client.post("/who", data={"who": "李师傅", "next": "/"}, follow_redirects=False)
    assert answer.status_code == 303
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert 'value="李师傅"' in client.get("/").text
    assert client.post("/who", data={"who": " "}).status_code == 422


def test_a_simulated_clock_is_told_on_every_page(town: Community) -> None:
    town.clock = Clock(1_790_000_000_000_000, 60.0)
    with TestClient(create_app(town.parts())) as client:
        for path in ("/", "/devices", "/notices", "/quarantine"):
            assert "60 倍速" in client.get(path).text


def test_assets_are_kept_by_their_digest(client: TestClient) -> None:
    page = client.get("/").text
    links = re.findall(r'"(/static/[^"]+)"', page)
    assert len(links) == 3
    for link in links:
        assert "immutable" in client.get(link).headers["cache-control"]
    plain = client.get("/static/page.js")
    assert plain.headers["cache-control"] == "no-cache"
    again = client.get("/static/page.js", headers={"if-none-match": plain.headers["etag"]})
    assert again.status_code == 304
    assert client.get("/static/nothing.js").status_code == 404


def test_a_page_is_small(lively: dict[str, str], client: TestClient) -> None:
    whole = sum(
        len(client.get(path).content)
        for path in ("/", "/static/page.js", "/static/style.css", "/static/favicon.svg")
    )
    assert whole < 60_000


def test_no_template_and_no_script_has_text_of_its_own() -> None:
    for file in [*PAGES.rglob("*.html"), *PAGES.rglob("*.js"), *PAGES.rglob("*.css")]:
        assert not CHINESE.search(file.read_text(encoding="utf-8")), file


def test_every_text_is_there_in_both_languages_with_the_same_blanks() -> None:
    for key, texts in read_words().texts.items():
        blanks = [set(re.findall(r"\{(\w+)\}", texts[language])) for language in LANGUAGES]
        assert blanks[0] == blanks[1], key
        if key != "language":
            assert not CHINESE.search(texts["en"]), key


def test_every_text_that_a_template_says_exists_and_every_state_has_a_word() -> None:
    texts = read_words().texts
    for file in PAGES.rglob("*.html"):
        said = re.findall(r"(?:\bt|r\.say)\('([a-z.0-9]+)'[,)]", file.read_text(encoding="utf-8"))
        assert [key for key in said if key not in texts] == [], file
    for metric in CATALOGUE.values():
        for word in metric.words:
            assert f"word.{word}" in texts, word


def test_words_that_lack_a_language_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "words.yaml"
    file.write_text(
        "a: {zh: 甲, en: a}\nb: {zh: 乙}\nc: {zh: 丙, en: c, fr: c}\n", encoding="utf-8"
    )
    with pytest.raises(ValueError, match="zh and en in: b, c"):
        read_words(file)
