"""GET alerts, and what people do about them: acknowledge, comment."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from api import casework, schemas
from api.desk import AtDesk, Desk
from api.live import encode
from api.problems import ProblemError, may_fail
from api.render import COOKIE_WHO, local_path
from ingest.changes import Severity

router = APIRouter(tags=["alerts"])

Episode = Annotated[str, Path(description="id of the alert", max_length=64)]
Limit = Annotated[int, Query(ge=1, le=500, description="at most so many items")]
M = TypeVar("M", bound=BaseModel)

TO_PAGE: dict[int | str, dict[str, Any]] = {303: {"description": "to a page, for a form"}}
FORM = "application/x-www-form-urlencoded"


def _body_of(shape: type[BaseModel]) -> dict[str, Any]:
    schema = {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}}
    return {"requestBody": {"required": True, "content": {"application/json": schema}}}


@router.get(
    "/alerts",
    summary="Open and recent alerts, newest first",
    responses=may_fail(422, 503),
)
def alerts(
    desk: AtDesk,
    state: Annotated[
        Literal["firing", "resolved", "all"],
        Query(description="`firing`: all that are open, also those whose input went stale"),
    ] = "firing",
    audience: Annotated[
        Literal["people", "review", "all"], Query(description="who is meant to see it")
    ] = "people",
    severity: Annotated[Severity | None, Query(description="only of this severity")] = None,
    device: Annotated[str | None, Query(description="only of this device, by id")] = None,
    building: Annotated[str | None, Query(description="only in this building, by id")] = None,
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
    limit: Limit = 100,
) -> schemas.Page[schemas.Alert]:
    devices = desk.parts.registry.devices
    wanted = [
        alert
        for alert in desk.view.alerts.values()
        if state in ("all", "firing" if alert.open else "resolved")
        and audience in ("all", alert.change.audience)
        and (severity is None or alert.change.severity == severity)
        and (device is None or alert.change.device == device)
        and (
            building is None
            or (
                (alert.change.device in devices)
                and devices[alert.change.device].building == building
            )
        )
    ]
    following = casework.after_cursor(wanted, cursor)
    shown = following[:limit]
    more = casework.cursor_of(shown[-1]) if len(following) > limit else None
    items = casework.alert_shapes(desk.parts.registry, desk.parts.cases, shown)
    return schemas.Page[schemas.Alert](items=items, next=more)


@router.get(
    "/alerts/{episode}",
    summary="One alert with its history",
    responses=may_fail(404, 422, 503),
)
def alert(desk: AtDesk, episode: Episode) -> schemas.AlertDetail:
    return _detail(desk, episode)


@router.post(
    "/alerts/{episode}/ack",
    summary="Take care of an alert; again changes nothing",
    response_model=schemas.AlertDetail,
    responses=TO_PAGE | may_fail(403, 404, 413, 415, 422, 503),
    openapi_extra=_body_of(schemas.Acknowledge),
)
async def acknowledge(desk: AtDesk, request: Request, episode: Episode) -> Response:
    found = casework.find_alert(desk.view, episode)
    said, form = await _said(request, schemas.Acknowledge)
    now_us = desk.now_us()
    taken = await run_in_threadpool(
        casework.acknowledge, desk.parts.cases, found.change, said, now_us
    )
    if taken.outcome == "acknowledged":
        _tell(desk, episode, "acknowledge", said.who)
    return await _answer(desk, request, episode, form, said.who)


@router.post(
    "/alerts/{episode}/comment",
    summary="Write something about an alert",
    response_model=schemas.AlertDetail,
    responses=TO_PAGE | may_fail(403, 404, 413, 415, 422, 503),
    openapi_extra=_body_of(schemas.Comment),
)
async def comment(desk: AtDesk, request: Request, episode: Episode) -> Response:
    found = casework.find_alert(desk.view, episode)
    said, form = await _said(request, schemas.Comment)
    now_us = desk.now_us()
    await run_in_threadpool(casework.comment, desk.parts.cases, found.change, said, now_us)
    _tell(desk, episode, "comment", said.who)
    return await _answer(desk, request, episode, form, said.who)


def _detail(desk: Desk, episode: str) -> schemas.AlertDetail:
    found = casework.find_alert(desk.view, episode)
    return casework.alert_detail(desk.parts.registry, desk.parts.cases, found)


def _tell(desk: Desk, episode: str, kind: str, who: str) -> None:
    """What people did is in no journal, so that this event has no number to resume from."""
    desk.hub.tell("alerts", encode("action", {"episode": episode, "kind": kind, "who": who}))


async def _said(request: Request, shape: type[M]) -> tuple[M, dict[str, str] | None]:
    """What a person said, and the form that it came in (None: JSON). Raises ProblemError."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return _checked(shape, await _json(request)), None
    if media_type == FORM:
        form = {k: v for k, v in (await request.form()).items() if isinstance(v, str)}
        return _checked(shape, {k: form[k] for k in shape.model_fields if k in form}), form
    raise ProblemError(415, f"send application/json or {FORM}")


async def _json(request: Request) -> object:
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise ProblemError(422, f"the body is no JSON: {error}") from None


def _checked(shape: type[M], body: object) -> M:
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        problems = [{"where": list(e["loc"]), "message": e["msg"]} for e in error.errors()]
        told = "; ".join(f"{'.'.join(map(str, p['where']))}: {p['message']}" for p in problems)
        raise ProblemError(422, told, problems) from None


async def _answer(
    desk: Desk, request: Request, episode: str, form: dict[str, str] | None, who: str
) -> Response:
    """JSON for a program; a form's page again, with the name remembered, for a browser."""
    wants_json = "application/json" in request.headers.get("accept", "")
    if form is None or wants_json:
        detail = await run_in_threadpool(_detail, desk, episode)
        response = Response(detail.model_dump_json(), media_type="application/json")
    else:
        response = RedirectResponse(
            desk.pages.path(local_path(form.get("next"), f"/alerts/{episode}")), 303
        )
    if form is not None:
        desk.pages.remember(response, COOKIE_WHO, who)
    return response
