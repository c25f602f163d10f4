"""The pages, and the fragments of them that the page module fetches again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from api import cards, casework
from api.desk import AtDesk, Desk
from api.problems import ProblemError
from api.render import COOKIE_WHO, Reader, local_path
from api.routes.queues import before_number, readable
from api.trends import RANGES_S, trend_of
from api.views import device_states, latest_of, place_of, severity_rank
from ingest.clock import parse_us
from ingest.registry import Device
from response.actions import actions_of
from response.notices import notices as read_notices

router = APIRouter(include_in_schema=False)

LISTED = 400
NOTICES = 100
QUARANTINED = 50

Show = Annotated[str, Query(max_length=160)]
Span = Annotated[str, Query(alias="range", max_length=8)]


def _strip(desk: Desk, reader: Reader) -> dict[str, Any]:
    return {"strip": cards.strip(desk, reader)}


def _inbox(desk: Desk, reader: Reader) -> dict[str, Any]:
    alerts = cards.open_alerts(desk, "people")
    closed = cards.closed_alerts(desk)
    return {
        "alerts": cards.cards(desk, reader, alerts),
        "more": max(0, len(alerts) - cards.CARDS),
        "closed": cards.cards(desk, reader, closed),
    }


def _review(desk: Desk, reader: Reader) -> dict[str, Any]:
    alerts = cards.open_alerts(desk, "review")
    return {
        "review": cards.cards(desk, reader, alerts),
        "more_review": max(0, len(alerts) - cards.CARDS),
    }


def _plan(desk: Desk, reader: Reader) -> dict[str, Any]:
    return {"plan": cards.plan_of(desk, reader)}


@router.get("/")
def home(desk: AtDesk, request: Request) -> Response:
    reader = desk.pages.reader(request)
    context = (
        _strip(desk, reader) | _inbox(desk, reader) | _review(desk, reader) | _plan(desk, reader)
    )
    return desk.pages.page(request, "home.html", reader=reader, **context)


@router.post("/who")
async def who(desk: AtDesk, request: Request) -> Response:
    """Remembers the name with which a person signs."""
    form = await request.form()
    name = str(form.get("who", "")).strip()
    if not 1 <= len(name) <= 64:
        raise ProblemError(422, "who: write your name, 1 to 64 characters")
    response: Response = RedirectResponse(desk.pages.path(local_path(form.get("next"), "/")), 303)
    if "application/json" in request.headers.get("accept", ""):
        response = JSONResponse({"who": name})
    desk.pages.remember(response, COOKIE_WHO, name)
    return response


@router.get("/fragments/strip")
def strip_fragment(desk: AtDesk, request: Request) -> Response:
    return _fragment(desk, request, "parts/strip.html", _strip)


@router.get("/fragments/inbox")
def inbox_fragment(desk: AtDesk, request: Request) -> Response:
    return _fragment(desk, request, "parts/inbox.html", _inbox)


@router.get("/fragments/review")
def review_fragment(desk: AtDesk, request: Request) -> Response:
    return _fragment(desk, request, "parts/review.html", _review)


@router.get("/fragments/plan")
def plan_fragment(desk: AtDesk, request: Request) -> Response:
    return _fragment(desk, request, "parts/plan.html", _plan)


def _fragment(desk: Desk, request: Request, template: str, found: Any) -> Response:
    reader = desk.pages.reader(request)
    return desk.pages.page(request, template, reader=reader, **found(desk, reader))


@router.get("/devices")
def devices(
    desk: AtDesk, request: Request, type: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    reader = desk.pages.reader(request)
    registry = desk.parts.registry
    types = sorted({device.type for device in registry.devices.values()})
    wanted = [d for d in registry.devices.values() if not type or d.type == type]
    context: dict[str, Any] = {
        "types": [(word, reader.kind(word)) for word in types],
        "chosen": type,
        "devices": _listed(desk, reader, wanted)[:LISTED],
        "more": len(wanted) > LISTED,
        "limit": LISTED,
    }
    return desk.pages.page(request, "devices.html", reader=reader, **context)


@router.get("/devices/{id}")
def device(desk: AtDesk, request: Request, id: str, show: Show = "", span: Span = "") -> Response:
    known = desk.device(id)
    reader = desk.pages.reader(request)
    context = _device(desk, reader, known) | _trend(desk, reader, known, show, span)
    return desk.pages.page(request, "device.html", reader=reader, **context)


@router.get("/fragments/device/{id}")
def device_fragment(desk: AtDesk, request: Request, id: str) -> Response:
    known = desk.device(id)
    return _fragment(
        desk, request, "parts/values.html", lambda desk, reader: _device(desk, reader, known)
    )


@router.get("/fragments/device-alerts/{id}")
def device_alerts_fragment(desk: AtDesk, request: Request, id: str) -> Response:
    known = desk.device(id)
    return _fragment(
        desk, request, "parts/device_alerts.html", lambda desk, reader: _device(desk, reader, known)
    )


@router.get("/fragments/trend/{id}")
def trend_fragment(
    desk: AtDesk, request: Request, id: str, show: Show = "", span: Span = ""
) -> Response:
    known = desk.device(id)
    return _fragment(
        desk,
        request,
        "parts/trend.html",
        lambda desk, reader: _trend(desk, reader, known, show, span),
    )


def _device(desk: Desk, reader: Reader, device: Device) -> dict[str, Any]:
    ours = [a for a in desk.view.alerts.values() if a.change.device == device.id]
    ordered = sorted(ours, key=lambda a: (not a.open, -a.change.started_us))
    values = latest_of(desk.view, device, desk.now_us())
    presence = desk.view.presence.get(device.id)
    found = {v.channel for v in values}
    heard_us = desk.view.newest_us(device.id)
    return {
        "device": device,
        "name": reader.pick(device.name),
        "kind": reader.kind(device.type),
        "compact": len(found) > 4,
        "place": cards.spot(desk.parts.registry, reader, device.building, device.stairwell),
        "state": device_states(desk.view, [device], desk.now_us())[device.id],
        "presence": presence.state if presence else None,
        "heard": reader.when_exactly(heard_us) if values else "",
        "channels": _by_channel(
            {
                "channel": v.channel,
                "metric": reader.metric(v.metric),
                "value": reader.value(v.metric, v.value, v.word),
                "time": reader.when_exactly(parse_us(v.time)),
                "stale": v.stale,
                "show": f"{v.channel}/{v.metric}",
            }
            for v in values
        ),
        "device_alerts": cards.cards(desk, reader, ordered[:20]),
    }


def _by_channel(rows: Iterable[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows by channel: main first, then port.2 before port.10."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["channel"], []).append(row)
    return sorted(found.items(), key=lambda pair: natural(pair[0]))


def natural(channel: str) -> tuple[bool, str, int]:
    stem, _, number = channel.rpartition(".")
    if stem and number.isdecimal():
        return channel != "main", stem, int(number)
    return channel != "main", channel, 0


def _trend(desk: Desk, reader: Reader, device: Device, show: str, span: str) -> dict[str, Any]:
    trend = trend_of(desk, reader, device, show, span)
    return {"trend": trend, "ranges": list(RANGES_S), "device": device}


def _listed(desk: Desk, reader: Reader, devices: list[Device]) -> list[dict[str, str]]:
    """Devices in a list: those in trouble first."""
    states = device_states(desk.view, devices, desk.now_us())
    rows = [
        {
            "id": d.id,
            "name": reader.pick(d.name),
            "kind": reader.kind(d.type),
            "state": states[d.id],
            "word": cards.state_name(reader, states[d.id]),
        }
        for d in devices
    ]
    return sorted(rows, key=lambda row: (_rank(row["state"]), row["kind"], row["id"]))


def _rank(state: str) -> int:
    """Alerts by severity, then silent ones, then those that are well."""
    return severity_rank(state) + (1 if state == "ok" else 0)


@router.get("/buildings/{id}")
def building(desk: AtDesk, request: Request, id: str) -> Response:
    reader = desk.pages.reader(request)
    context = _building(desk, reader, id)
    return desk.pages.page(request, "building.html", reader=reader, **context)


@router.get("/fragments/building/{id}")
def building_fragment(desk: AtDesk, request: Request, id: str) -> Response:
    return _fragment(
        desk, request, "parts/building.html", lambda desk, reader: _building(desk, reader, id)
    )


def _building(desk: Desk, reader: Reader, id: str) -> dict[str, Any]:
    registry = desk.parts.registry
    if id not in registry.buildings:
        raise ProblemError(404, f"no building {id!r}")
    ours = [d for d in registry.devices.values() if d.building == id]
    alerts = [
        a for a in cards.open_alerts(desk, "people") if place_of(registry, a.change.device)[1] == id
    ]
    found = registry.buildings[id]
    return {
        "building": found,
        "name": reader.pick(found.name),
        "devices": _listed(desk, reader, ours),
        "alerts": cards.cards(desk, reader, alerts),
    }


@router.get("/alerts/{episode}")
def alert(desk: AtDesk, request: Request, episode: str) -> Response:
    reader = desk.pages.reader(request)
    context = _alert(desk, reader, episode)
    return desk.pages.page(request, "alert.html", reader=reader, **context)


@router.get("/fragments/alert/{episode}")
def alert_fragment(desk: AtDesk, request: Request, episode: str) -> Response:
    return _fragment(
        desk, request, "parts/alert.html", lambda desk, reader: _alert(desk, reader, episode)
    )


def _alert(desk: Desk, reader: Reader, episode: str) -> dict[str, Any]:
    found = casework.find_alert(desk.view, episode)
    done = actions_of(desk.parts.cases, [episode])[episode]
    change = found.change
    return {
        "change": change,
        "card": cards.cards(desk, reader, [found])[0],
        "known_device": change.device in desk.parts.registry.devices,
        "evidence": cards.evidence_of(reader, change.evidence),
        "moments": cards.history_of(reader, found, done),
        "resolved_us": found.resolved_us,
    }


@router.get("/notices")
def notices(desk: AtDesk, request: Request) -> Response:
    reader = desk.pages.reader(request)
    return desk.pages.page(request, "notices.html", reader=reader, **_notices(desk, reader))


@router.get("/fragments/notices")
def notices_fragment(desk: AtDesk, request: Request) -> Response:
    return _fragment(desk, request, "parts/notices.html", _notices)


def _notices(desk: Desk, reader: Reader) -> Mapping[str, Any]:
    return {"notices": read_notices(desk.parts.cases, NOTICES)}


@router.get("/quarantine")
def quarantine(
    desk: AtDesk, request: Request, cursor: Annotated[str | None, Query(max_length=20)] = None
) -> Response:
    reader = desk.pages.reader(request)
    rows = desk.parts.reader.quarantined(QUARANTINED + 1, before_number(cursor))
    shown = [
        (number, entry, readable(entry.payload) or repr(entry.payload[:256])[2:-1])
        for number, entry in rows[:QUARANTINED]
    ]
    older = rows[QUARANTINED - 1][0] if len(rows) > QUARANTINED else None
    context: dict[str, Any] = {"rows": shown, "older": older, "cursor": cursor}
    return desk.pages.page(request, "quarantine.html", reader=reader, **context)


@router.get("/static/{name}")
async def static(desk: AtDesk, request: Request, name: str, v: str = "") -> Response:
    asset = desk.pages.assets.get(name)
    if asset is None:
        raise ProblemError(404, f"no file {name!r}")
    kept = "public, max-age=31536000, immutable" if v == asset.digest else "no-cache"
    headers = {"etag": f'"{asset.digest}"', "cache-control": kept}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)
