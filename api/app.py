"""The FastAPI application: routes, errors, headers, and the follower that runs beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from api import schemas
from api.desk import Desk
from api.follower import Follower
from api.guard import Guard
from api.latest import LatestBytes
from api.live import Hub, Teller
from api.parts import Parts
from api.problems import ProblemError, problem
from api.render import Pages
from api.routes import alerts, devices, health, live, pages, queues, sites
from ingest.journal import JournalError

API = "/api/v1"


class _Application(FastAPI):
    """Guarded as a whole, also where it fails; its document has the shapes that are sent and taken
    without FastAPI's doing."""

    def __init__(self, served_under: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._served_under = served_under

    def build_middleware_stack(self) -> ASGIApp:
        return Guard(super().build_middleware_stack(), self._served_under)

    def openapi(self) -> dict[str, Any]:
        known = self.openapi_schema is not None
        document = super().openapi()
        if not known:
            shapes = document.setdefault("components", {}).setdefault("schemas", {})
            for shape in (schemas.Problem, schemas.Acknowledge, schemas.Comment):
                shapes[shape.__name__] = shape.model_json_schema()
        return document


def create_app(parts: Parts) -> FastAPI:
    """The application over its parts, which stay the caller's to close."""
    hub = Hub()
    teller = Teller(hub, parts.registry, parts.clock)
    follower = Follower(parts.reader, teller, hub.resync)
    app = _Application(
        parts.root_path,
        title="Courtyard",
        description="Watches over the shared equipment of residential communities.",
        version="1",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # these two load scripts from elsewhere
        redoc_url=None,
        lifespan=_following(follower, hub),
    )
    app.state.desk = Desk(
        parts, follower, hub, LatestBytes(), Pages(parts, lambda: follower.view.batch)
    )
    for group in (sites, devices, alerts, queues, live):
        app.include_router(group.router, prefix=API)
    app.include_router(health.router)
    app.include_router(pages.router)
    _add_errors(app)
    return app


def close_live(app: FastAPI) -> None:
    """Ends all live streams, so that the server can stop. To be called in its event loop."""
    desk: Desk = app.state.desk
    desk.hub.close()


def _following(follower: Follower, hub: Hub) -> Any:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        first = asyncio.Event()
        task = asyncio.create_task(follower.run(first), name="serve.follow")
        await first.wait()
        try:
            yield
        finally:
            hub.close()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            follower.close()

    return lifespan


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ProblemError)
    async def _problem(request: Request, error: ProblemError) -> Response:
        return _told(request, error.status, error.detail, error.errors)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return _told(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [{"where": list(e["loc"]), "message": e["msg"]} for e in error.errors()]
        detail = "; ".join(f"{'.'.join(map(str, e['where']))}: {e['message']}" for e in errors)
        return _told(request, 422, detail, errors)

    @app.exception_handler(JournalError)
    async def _journal(request: Request, error: JournalError) -> Response:
        return _told(request, 503, f"the journal cannot be read now: {error}")

    @app.exception_handler(SQLAlchemyError)
    async def _cases(request: Request, error: SQLAlchemyError) -> Response:
        return _told(request, 503, "the case database does not answer now; try again")


def _told(
    request: Request, status: int, detail: str, errors: list[dict[str, Any]] | None = None
) -> Response:
    """Problem details for programs, a page for a browser that asked for one."""
    browser = "text/html" in request.headers.get("accept", "")
    if browser and not request.url.path.endswith("/openapi.json"):
        desk: Desk = request.app.state.desk
        return desk.pages.page(request, "error.html", status=status, code=status, detail=detail)
    return problem(status, detail, errors or ())


__all__ = ["Parts", "close_live", "create_app"]
