"""GET live: server-sent events."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from api.desk import AtDesk, Desk
from api.live import (
    TOPICS,
    CrowdedError,
    encode,
    encode_tick,
    missed,
    read_missed,
    stream,
)
from api.problems import ProblemError, may_fail

router = APIRouter(tags=["live"])

EXPLAINED = """Events, each with JSON as `data`:

- `alert`: an alert changed; an Alert, and `batch`.
- `action`: somebody acknowledged or commented; `episode`, `kind`, `who`.
- `latest`: values that changed, as columns, about once a second.
- `tick`: at once and every 5 s, `batch` and `age_s`, the age of the newest reading in seconds.
- `resync`: something was dropped; fetch anew what you show.

The id of an event is a journal batch. A client that comes back with Last-Event-ID gets what it
missed since then, some of it perhaps twice, or `resync` if that is too much or no longer kept.
A comment is sent after 15 s of silence."""


STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "never ends", "content": {"text/event-stream": {}}}
}


@router.get(
    "/live",
    summary="Changes as they happen",
    description=EXPLAINED,
    response_class=StreamingResponse,
    responses=may_fail(422, 503) | STREAM,
)
async def live(
    desk: AtDesk,
    topics: Annotated[
        str, Query(description=f"some of {','.join(TOPICS)}, with commas between")
    ] = ",".join(TOPICS),
    after: Annotated[
        int | None, Query(ge=0, description="as Last-Event-ID, for who cannot set a header")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(description="id of the last event that was received")
    ] = None,
) -> StreamingResponse:
    wanted = frozenset(topics.split(","))
    if not wanted <= set(TOPICS):
        raise ProblemError(422, f"topics: there are {', '.join(TOPICS)}")
    try:
        client = desk.hub.join(wanted)
    except CrowdedError as error:
        raise ProblemError(503, str(error)) from None
    seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
    first = [encode_tick(desk.view, desk.parts.clock)] if "tick" in wanted else []
    try:
        if seen is not None:
            first += await _first(desk, seen, wanted)
    except BaseException:
        desk.hub.leave(client)
        raise
    headers = {"x-accel-buffering": "no", "cache-control": "no-store"}
    return StreamingResponse(
        stream(desk.hub, client, first), media_type="text/event-stream", headers=headers
    )


async def _first(desk: Desk, seen: int, wanted: frozenset[str]) -> list[bytes]:
    """What a client missed since batch `seen`. It has joined already, so that nothing is lost
    between this and what follows."""
    view = desk.view
    loop = asyncio.get_running_loop()
    batches = await loop.run_in_executor(
        desk.follower.thread, read_missed, desk.parts.reader, seen, view.batch
    )
    if batches is None:
        return [encode("resync", {"batch": view.batch}, view.batch)]
    found = missed(batches, view, desk.parts.registry)
    return [event for topic, event in found if topic in wanted]
