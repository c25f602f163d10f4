"""GET quarantine and notices: what was not let in, and who was told."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import APIRouter, Query

from api import casework, schemas
from api.desk import AtDesk
from api.problems import ProblemError, may_fail
from ingest.clock import format_us
from ingest.journal import Quarantined
from response.notices import notices as read_notices

router = APIRouter()

Limit = Annotated[int, Query(ge=1, le=500, description="at most so many items")]


@router.get(
    "/quarantine",
    tags=["quarantine"],
    summary="Messages that were not let in, newest first",
    responses=may_fail(422, 503),
)
def quarantine(
    desk: AtDesk,
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
    limit: Limit = 50,
) -> schemas.Page[schemas.Quarantined]:
    rows = desk.parts.reader.quarantined(limit + 1, before_number(cursor))
    shown = [quarantined_shape(number, entry) for number, entry in rows[:limit]]
    following = str(rows[limit - 1][0]) if len(rows) > limit else None
    return schemas.Page[schemas.Quarantined](items=shown, next=following)


@router.get(
    "/notices",
    tags=["notices"],
    summary="What was or will be told to whom, newest first",
    responses=may_fail(422, 503),
)
def notices(
    desk: AtDesk,
    state: Annotated[schemas.NoticeState | None, Query(description="only in this state")] = None,
    episode: Annotated[str | None, Query(description="only of this alert")] = None,
    limit: Limit = 100,
) -> schemas.Page[schemas.Notice]:
    rows = read_notices(desk.parts.cases, limit, state, episode)
    return schemas.Page[schemas.Notice](items=[casework.notice_shape(r) for r in rows], next=None)


def before_number(cursor: str | None) -> int | None:
    """Raises ProblemError 422."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 18:
        raise ProblemError(422, "cursor: give the `next` of the page before, unchanged")
    return int(cursor)


def quarantined_shape(number: int, entry: Quarantined) -> schemas.Quarantined:
    text = readable(entry.payload)
    return schemas.Quarantined(
        number=number,
        arrival=format_us(entry.arrival_us),
        topic=entry.topic,
        principal=entry.principal,
        reason=entry.reason,
        detail=entry.detail,
        payload=base64.b64encode(entry.payload).decode() if text is None else text,
        payload_encoding="base64" if text is None else "text",
        size_bytes=entry.size,
    )


def readable(payload: bytes) -> str | None:
    """The payload as text, None if it is none. Its end may have been cut within a character."""
    for cut in range(4):
        try:
            text = payload[: len(payload) - cut].decode()
        except UnicodeDecodeError:
            continue
        printable = all(c.isprintable() or c in "\n\r\t" for c in text)
        return text if printable else None
    return None
