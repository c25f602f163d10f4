"""Pages from templates: language, links, times and numbers as people read them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.charts import icon
from api.parts import Parts
from api.views import number_shown, unit_shown
from api.words import LANGUAGES, PAGES, Language, Words, read_words
from ingest.metrics import CATALOGUE
from ingest.registry import Text, device_type
from ingest.shelf import shelf_words

YEAR_S = 365 * 86_400
COOKIE_LANGUAGE = "courtyard_language"
COOKIE_WHO = "courtyard_who"

MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


_PARAMETERS = {
    word: parameter
    for kind in shelf_words("ingest.devices")
    for word, parameter in device_type(kind).parameters.items()
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages refer to; `digest` changes with its content."""

    body: bytes
    media_type: str
    digest: str


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a page: in which language, where, by which name they sign; `batch`: as of which
    journal batch, so that the live stream goes on from there."""

    language: Language
    zone: ZoneInfo
    words: Words
    now_us: int
    batch: int
    who: str = ""

    def say(self, key: str, **values: object) -> str:
        return self.words.say(self.language, key, **values)

    def pick(self, text: Text) -> str:
        return text.zh if self.language == "zh" else text.en

    def when(self, time_us: int) -> str:
        """14:05 today, else 11-23 14:05."""
        at, now = self._local(time_us), self._local(self.now_us)
        return f"{at:%H:%M}" if at.date() == now.date() else f"{at:%m-%d %H:%M}"

    def when_exactly(self, time_us: int) -> str:
        return f"{self._local(time_us):%Y-%m-%d %H:%M:%S}"

    def ago(self, time_us: int) -> str:
        return self.lasting((self.now_us - time_us) / 1e6)

    def lasting(self, seconds: float) -> str:
        """The two greatest units of a length of time."""
        whole_s = max(0, int(seconds))
        if whole_s < 60:
            return self.say("ago.s", n=whole_s)
        if whole_s < 3_600:
            return self.say("ago.m", n=whole_s // 60)
        if whole_s < 86_400:
            return self.say("ago.h", h=whole_s // 3_600, m=whole_s % 3_600 // 60)
        return self.say("ago.d", d=whole_s // 86_400, h=whole_s % 86_400 // 3_600)

    def metric(self, word: str) -> str:
        """What people call a metric; a word that is not in the catalogue stands for itself."""
        known = CATALOGUE.get(word)
        return word if known is None else known.zh if self.language == "zh" else known.en

    def evidence(self, word: str) -> str:
        """What people call a part of a rule's evidence: our words, a metric, a device's number."""
        if f"evidence.{word}" in self.words.texts:
            return self.say(f"evidence.{word}")
        known = _PARAMETERS.get(word)
        return self.pick(Text(known.zh, known.en)) if known else self.metric(word)

    def value(self, metric: str, value: float | None, word: str | None = None) -> str:
        """A value with its unit, or the word of a state."""
        if word is not None:
            exact = f"word.{metric}.{word}"
            return self.say(exact if exact in self.words.texts else f"word.{word}")
        if value is None:
            return "–"
        unit = unit_shown(CATALOGUE[metric].unit) if metric in CATALOGUE else ""
        return f"{number_shown(value)} {unit}".rstrip()

    def kind(self, type_word: str) -> str:
        """What people call a device type."""
        known = device_type(type_word)
        return known.zh if self.language == "zh" else known.en

    def _local(self, time_us: int) -> datetime:
        return datetime.fromtimestamp(time_us / 1e6, UTC).astimezone(self.zone)


class Pages:
    """The templates, words and assets of one application."""

    def __init__(self, parts: Parts, batch: Callable[[], int]) -> None:
        self._parts = parts
        self._batch = batch
        self._words = read_words()
        self._zone = ZoneInfo(parts.registry.time_zone)
        self.assets = _read_assets()
        self._templates = Environment(
            loader=FileSystemLoader(PAGES / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals |= {"icon": icon, "asset": self._asset, "path": self.path}

    def path(self, path: str) -> str:
        """A path of ours as a browser must ask for it."""
        return f"{self._parts.root_path.rstrip('/')}{path}"

    def reader(self, request: Request) -> Reader:
        """Language: ?lang=, else the cookie, else Chinese."""
        wanted = (request.query_params.get("lang"), request.cookies.get(COOKIE_LANGUAGE), "zh")
        language = next(one for word in wanted for one in LANGUAGES if one == word)
        who = unquote(request.cookies.get(COOKIE_WHO, ""))[:64]
        now_us = self._parts.clock.now_us()
        return Reader(language, self._zone, self._words, now_us, self._batch(), who)

    def page(
        self, request: Request, template: str, *, status: int = 200, **context: Any
    ) -> Response:
        """A whole page, or a fragment of one. A language that was asked for is remembered."""
        reader: Reader = context.pop("reader", None) or self.reader(request)
        body = self._templates.get_template(template).render(
            context | self._common(request, reader)
        )
        response = HTMLResponse(body, status)
        if request.query_params.get("lang") in LANGUAGES:
            self.remember(response, COOKIE_LANGUAGE, reader.language)
        return response

    def remember(self, response: Response, name: str, value: str) -> None:
        """A cookie of ours: of this site only, for a year."""
        response.set_cookie(
            name,
            quote(value),
            max_age=YEAR_S,
            path=self.path("/"),
            httponly=True,
            samesite="lax",
        )

    def _common(self, request: Request, reader: Reader) -> dict[str, Any]:
        other = "en" if reader.language == "zh" else "zh"
        kept = {k: v for k, v in request.query_params.items() if k != "lang"}
        query = "&".join(f"{quote(k)}={quote(v)}" for k, v in {**kept, "lang": other}.items())
        say: Callable[..., str] = partial(reader.say)
        return {
            "t": say,
            "r": reader,
            "lang": "zh-CN" if reader.language == "zh" else "en",
            "site": reader.pick(self._parts.registry.name),
            "other_language": f"?{query}",
            "clock": self._parts.clock,
            "demo": self._parts.demo,
            "here": request.url.path,
        }

    def _asset(self, name: str) -> str:
        return self.path(f"/static/{name}?v={self.assets[name].digest}")


def local_path(wanted: object, otherwise: str) -> str:
    """Where a form wants to go on, if that is a path of ours and nobody else's address."""
    if not isinstance(wanted, str) or not wanted.isascii() or not wanted.isprintable():
        return otherwise
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if ours else otherwise


def _read_assets() -> dict[str, Asset]:
    found = {}
    for file in sorted((PAGES / "static").iterdir()):
        if file.suffix in MEDIA_TYPES:
            body = file.read_bytes()
            digest = hashlib.sha256(body).hexdigest()[:12]
            found[file.name] = Asset(body, MEDIA_TYPES[file.suffix], digest)
    return found
