"""What protects the pages: security headers, and no writing from another site."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import ProblemError, problem

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
BODY_BYTES = 64 * 1024
TOO_LONG = f"the body is too long; at most {BODY_BYTES} bytes are taken"
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
    """Wraps the application: sets the headers on every answer, refuses cross-site writes and
    long bodies, and tells the application under which prefix it is served."""

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.root_path:
            scope = {**scope, "root_path": self.root_path}
        send = _with_headers(send)
        headers = Headers(scope=scope)
        if scope["method"] in READING:
            await self.app(scope, receive, send)
        elif from_elsewhere(headers):
            refused = problem(403, "this comes from another site; send it from our own pages")
            await refused(scope, receive, send)
        elif _length(headers) > BODY_BYTES:
            await problem(413, TOO_LONG)(scope, receive, send)
        else:
            await self.app(scope, _counted(receive), send)


def _with_headers(send: Send) -> Send:
    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return send_guarded


def _length(headers: Headers) -> int:
    said = headers.get("content-length", "0")
    return int(said) if said.isascii() and said.isdecimal() else 0


def _counted(receive: Receive) -> Receive:
    """For a body that does not say how long it is."""
    taken = 0

    async def receive_counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY_BYTES:
            raise ProblemError(413, TOO_LONG)
        return message

    return receive_counted
