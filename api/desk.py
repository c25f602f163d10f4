"""What the routes work with, and how they get it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from api.follower import Follower, View
from api.latest import LatestBytes
from api.live import Hub
from api.parts import Parts
from api.problems import ProblemError
from api.render import Pages
from ingest.registry import Device
from ingest.shelf import nearest


@dataclass(frozen=True, slots=True)
class Desk:
    """One application's parts, what follows the journal for it, and its pages."""

    parts: Parts
    follower: Follower
    hub: Hub
    latest: LatestBytes
    pages: Pages

    @property
    def view(self) -> View:
        return self.follower.view

    def now_us(self) -> int:
        return self.parts.clock.now_us()

    def device(self, word: str) -> Device:
        """Raises ProblemError 404, naming the nearest id."""
        device = self.parts.registry.devices.get(word)
        if device is None:
            raise ProblemError(404, f"no device {word!r}{_hint(word, self.parts)}")
        return device


def _hint(word: str, parts: Parts) -> str:
    found = nearest(word, tuple(parts.registry.devices)).split(";")[1].strip()
    return f"; {found}" if found.startswith("did") else ""


async def _desk(request: Request) -> Desk:  # a plain function would cost a thread for each request
    return cast(Desk, request.app.state.desk)


AtDesk = Annotated[Desk, Depends(_desk)]
