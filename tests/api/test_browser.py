"""The pages in a real Chromium: live, by keyboard, under the strict policy, on a phone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.api.community import Community, Value, served

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_MS = 30_000


@dataclass
class Visit:
    """A browser's window on a town, and everything that it complained about."""

    town: Community
    base: str
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(self.base + path)

    def watched(self, page: Page) -> Page:
        page.on(
            "console",
            lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.set_default_timeout(PATIENCE_MS)
        return page


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing; install it: apt-get install -y chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM))
        yield browser
        browser.close()


@pytest.fixture
def visit(town: Community, chromium: Browser) -> Iterator[Visit]:
    """On a phone of 390 px. Whatever the browser complains about fails the test."""
    town.hear(
        Value("pump-1", "main", "pressure", 340.0),
        Value("post-1", "main", "power.active", 100.0),
        Value("meter-1", "main", "power.active", 100.0),
    )
    with served(town.parts()) as base:
        context = chromium.new_context(viewport={"width": 390, "height": 844})
        made = Visit(town, base, context, context.new_page())
        made.watched(made.page)
        yield made
        context.close()
        assert made.complaints == []
        assert [url for url in made.asked if not url.startswith(base)] == []


def connected(page: Page) -> None:
    """Waits until the stream has said something: from then on nothing is missed."""
    page.wait_for_function("document.getElementById('offline').hidden")
    page.wait_for_function("document.body.dataset.connected === 'yes'")


def test_an_alert_appears_and_resolves_without_reloading(visit: Visit) -> None:
    visit.go("/")
    connected(visit.page)
    expect(visit.page.locator(".strip .headline")).to_have_text("一切正常")
    alert = visit.town.low_pressure()
    visit.town.hear(changes=[alert])
    card = visit.page.locator(f"#inbox #card-{alert.episode}")
    expect(card).to_contain_text("7号楼供水压力低", timeout=PATIENCE_MS)
    expect(visit.page.locator(".strip")).to_have_class("strip red", timeout=PATIENCE_MS)
    tile = visit.page.locator("#plan-b7 .tile")
    expect(tile).to_have_class("tile s-serious", timeout=PATIENCE_MS)
    visit.town.hear(changes=[visit.town.later(alert, "resolved")])
    expect(visit.page.locator(".strip .headline")).to_have_text("一切正常", timeout=PATIENCE_MS)
    expect(visit.page.locator("#closed")).to_be_attached(timeout=PATIENCE_MS)


def test_an_alert_is_taken_by_keyboard_and_focus_stays(visit: Visit) -> None:
    first = visit.town.low_pressure(ago_s=50)
    second = visit.town.low_pressure(ago_s=100)
    visit.town.hear(changes=[first, second])
    visit.go("/")
    connected(visit.page)
    visit.page.locator("#who").fill("李师傅")
    visit.page.locator("#who").press("Enter")  # keeps the name, and takes no alert
    expect(visit.page.locator("#said")).not_to_be_empty()
    assert visit.page.locator("#inbox button.ack").count() == 2
    visit.page.locator("#who").evaluate("one => one.blur()")
    visit.page.keyboard.press("j")
    visit.page.keyboard.press("j")
    expect(visit.page.locator(f"#open-{second.episode}")).to_be_focused()
    visit.page.keyboard.press("k")
    expect(visit.page.locator(f"#open-{first.episode}")).to_be_focused()
    visit.page.keyboard.press("j")
    visit.page.keyboard.press("a")
    card = visit.page.locator(f"#card-{second.episode}")
    expect(card).to_contain_text("李师傅 已接手", timeout=PATIENCE_MS)
    expect(visit.page.locator(f"#open-{second.episode}")).to_be_focused()
    third = visit.town.low_pressure(ago_s=1)
    visit.town.hear(changes=[third])
    expect(visit.page.locator(f"#card-{third.episode}")).to_be_visible(timeout=PATIENCE_MS)
    expect(visit.page.locator(f"#open-{second.episode}")).to_be_focused()
    visit.page.keyboard.press("Enter")
    expect(visit.page).to_have_url(f"{visit.base}/alerts/{second.episode}")


def test_what_somebody_else_does_shows_here(visit: Visit) -> None:
    alert = visit.town.low_pressure()
    visit.town.hear(changes=[alert])
    visit.go("/")
    connected(visit.page)
    other = visit.watched(visit.context.new_page())
    other.goto(f"{visit.base}/alerts/{alert.episode}")
    other.locator("#who").fill("王工")
    other.locator(".take button").click()
    expect(other.locator("#alert .by")).to_contain_text("王工", timeout=PATIENCE_MS)
    expect(visit.page.locator(f"#card-{alert.episode}")).to_contain_text(
        "王工 已接手", timeout=PATIENCE_MS
    )
    other.locator("#comment").fill("泵房已查看")
    other.locator("#comment-who").fill("王工")
    other.locator(".comment button").click()
    expect(other.locator(".moments")).to_contain_text("泵房已查看", timeout=PATIENCE_MS)


def test_a_name_is_asked_for_before_an_alert_is_taken(visit: Visit) -> None:
    alert = visit.town.low_pressure()
    visit.town.hear(changes=[alert])
    visit.go("/")
    visit.page.locator(f"#ack-{alert.episode}").click()
    expect(visit.page.locator("#who")).to_be_focused()
    assert visit.page.locator(f"#ack-{alert.episode}").count() == 1


def test_everything_works_without_script(visit: Visit, chromium: Browser) -> None:
    alert = visit.town.low_pressure()
    batch = visit.town.hear(changes=[alert])
    plain = chromium.new_context(java_script_enabled=False)
    page = visit.watched(plain.new_page())
    end = time.monotonic() + 30
    while alert.episode not in page.goto(visit.base + "/").text():  # type: ignore[union-attr]
        assert time.monotonic() < end, f"batch {batch} was not followed"
    page.locator("#who").fill("李师傅")
    page.locator(f"#ack-{alert.episode}").click()
    expect(page).to_have_url(visit.base + "/")
    expect(page.locator(f"#card-{alert.episode}")).to_contain_text("李师傅 已接手")
    page.locator(f"#open-{alert.episode}").click()
    page.locator("#comment").fill("看过了")
    page.locator(".comment button").click()
    expect(page.locator(".moments")).to_contain_text("看过了")
    plain.close()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_no_page_is_wider_than_a_phone_and_targets_are_for_thumbs(
    visit: Visit, language: str
) -> None:
    alert = visit.town.low_pressure()
    visit.town.tell(alert)
    visit.town.hear(changes=[alert])
    for path in (
        "/",
        "/devices",
        "/devices/pump-1",
        "/devices/post-1",
        "/buildings/b7",
        f"/alerts/{alert.episode}",
        "/notices",
        "/quarantine",
    ):
        visit.go(f"{path}?lang={language}")
        width = visit.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, (path, width)
        small = visit.page.evaluate(
            """() => [...document.querySelectorAll(`button, nav a, .open, .row, select, summary,
            .ranges a, .language, input:not([type=hidden]), .plan-drawing a`)]
            .filter(one => !one.classList.contains('hidden') && one.getClientRects().length)
            .map(one => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
            .filter(([_, box]) => box.height < 43.5 || box.width < 43.5)
            .map(([html, box]) => `${html} ${box.width}x${box.height}`)"""
        )
        assert small == [], path


def test_losing_the_service_is_said_and_finding_it_again_too(
    town: Community, chromium: Browser
) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    with served(town.parts()) as base:
        page.goto(base + "/")
        connected(page)
        context.set_offline(True)
        expect(page.locator("#offline")).to_be_hidden()
    expect(page.locator("#offline")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("#offline")).to_contain_text("连接已断开")
    context.set_offline(False)
    alert = town.low_pressure()
    town.hear(changes=[alert])
    port = int(base.rpartition(":")[2])
    with served(town.parts(), port):
        expect(page.locator(f"#card-{alert.episode}")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator("#offline")).to_be_hidden(timeout=PATIENCE_MS)
        context.close()


def test_a_device_page_shows_new_values(visit: Visit) -> None:
    visit.go("/devices/pump-1")
    connected(visit.page)
    expect(visit.page.locator("table.values")).to_contain_text("340 kPa")
    visit.town.hear(Value("pump-1", "main", "pressure", 275.5))
    expect(visit.page.locator("table.values")).to_contain_text("275.5 kPa", timeout=PATIENCE_MS)
    visit.page.locator("#range-7d").click()
    expect(visit.page.locator("#range-7d")).to_have_attribute("aria-current", "true")
    expect(visit.page.locator("#trend svg.narrow")).to_be_visible()
    visit.page.locator("#trend-table summary").click()
    expect(visit.page.locator("#trend-table tbody")).to_contain_text("kPa")
