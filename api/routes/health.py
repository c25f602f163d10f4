"""healthz, readyz, metrics: for whoever keeps it running."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from api.desk import AtDesk
from api.health import exposition, readiness

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> PlainTextResponse:
    return PlainTextResponse("alive\n")


@router.get("/readyz")
def readyz(desk: AtDesk) -> Response:
    """200, or 503 with the reasons, one a line."""
    problems = readiness(desk)
    if problems:
        return PlainTextResponse("\n".join(problems) + "\n", 503)
    return PlainTextResponse("ready\n")


@router.get("/metrics")
def metrics(desk: AtDesk) -> Response:
    return Response(exposition(desk), media_type=CONTENT_TYPE_PLAIN_0_0_4)
