"""What protects the pages: security headers, and no writing from another site."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
READING = frozenset({"GET", "HEAD", "OPTIONS"})


def from_elsewhere(headers: Headers) -> bool:
    """Whether a browser sends this for another site. A client that is no browser says neither.

    With `Referrer-Policy: no-referrer` a form of our own says `Origin: null`, so that
    Sec-Fetch-Site, which a page cannot forge, goes first.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get("origin")
    if origin is None:
        return False
    return origin.partition("://")[2] != headers.get("host")


class Guard:
    """Wraps the application: sets the headers on every answer, refuses cross-site writes, and
    tells the application under which prefix it is served."""

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.root_path:
            scope = {**scope, "root_path": self.root_path}

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if scope["method"] not in READING and from_elsewhere(Headers(scope=scope)):
            refused = problem(403, "this comes from another site; send it from our own pages")
            await refused(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)
