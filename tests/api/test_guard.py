"""Headers on every answer, nothing from other sites, no long bodies, a prefix of a proxy."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from api.app import create_app
from api.guard import CSP, from_elsewhere
from tests.api.community import Community
from tests.api.test_api import API, followed

EXACTLY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def test_the_policy_is_exactly_the_one_that_was_agreed() -> None:
    assert CSP == EXACTLY


@pytest.mark.parametrize(
    "path",
    ["/", "/devices/pump-1", "/static/page.js", "/nothing", f"{API}/sites", f"{API}/nothing"],
)
def test_every_answer_has_the_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"] == EXACTLY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_a_failure_of_ours_has_the_headers_too(town: Community) -> None:
    app = create_app(town.parts())

    @app.get("/breaks")
    def breaks() -> None:
        raise RuntimeError("as a test wants it")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/breaks")
    assert answer.status_code == 500
    assert answer.headers["content-security-policy"] == EXACTLY
    assert "as a test wants it" not in answer.text


@pytest.mark.parametrize(
    ("headers", "elsewhere"),
    [
        ({}, False),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"origin": "http://localhost", "host": "localhost"}, False),
        ({"origin": "http://localhost:81", "host": "localhost"}, True),
        ({"origin": "http://evil.example", "host": "localhost"}, True),
        ({"origin": "null", "host": "localhost"}, True),
    ],
)
def test_who_sends_from_elsewhere_is_known(headers: dict[str, str], elsewhere: bool) -> None:
    assert from_elsewhere(Headers(headers)) is elsewhere


def test_a_cross_site_write_is_refused_and_reading_is_not(
    town: Community, client: TestClient
) -> None:
    alert = town.low_pressure()
    followed(client, town.hear(changes=[alert]))
    foreign = {"sec-fetch-site": "cross-site"}
    path = f"{API}/alerts/{alert.episode}/ack"
    refused = client.post(path, json={"who": "x"}, headers=foreign)
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert client.post("/who", data={"who": "x"}, headers=foreign).status_code == 403
    assert client.get(f"{API}/alerts/{alert.episode}", headers=foreign).status_code == 200


def test_a_long_body_is_refused_whether_or_not_it_says_how_long_it_is(
    town: Community, client: TestClient
) -> None:
    alert = town.low_pressure()
    followed(client, town.hear(changes=[alert]))
    path = f"{API}/alerts/{alert.episode}/ack"
    media_type = {"content-type": "application/json"}

    def pieces() -> Iterator[bytes]:
        yield b'{"who":"'
        for _ in range(100):
            yield b"a" * 1_000
        yield b'"}'

    for body in (b'{"who": "' + b"a" * 100_000 + b'"}', pieces()):
        answer = client.post(path, content=body, headers=media_type)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"


def test_under_a_prefix_all_links_and_cookies_have_it(town: Community) -> None:
    town.options["root_path"] = "/courtyard"
    alert = town.low_pressure()
    town.hear(changes=[alert])
    with TestClient(create_app(town.parts()), base_url="http://localhost") as client:
        followed(client, 1)
        for path in ("/", "/courtyard/"):  # a proxy may cut the prefix off, or not
            page = client.get(path)
            assert page.status_code == 200
        for path in ("/", "/devices/pump-1", f"/alerts/{alert.episode}", "/quarantine"):
            text = client.get(path).text
            links = re.findall(r'(?:href|src|action|formaction|data-src|data-live)="([^"]*)"', text)
            assert links
            ours = [one for one in links if not one.startswith(("?", "#"))]
            assert all(one.startswith("/courtyard/") for one in ours), ours
        assert "Path=/courtyard/" in client.get("/?lang=en").headers["set-cookie"]
        answer = client.post(
            f"{API}/alerts/{alert.episode}/ack",
            data={"who": "李", "next": "/"},
            follow_redirects=False,
        )
        assert answer.headers["location"] == "/courtyard/"
