"""PORT: one message to one recipient, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, TextIO, cast

from ingest.shelf import from_shelf


@dataclass(frozen=True, slots=True)
class Notice:
    """`key` is the same for every try, so that a repeat can be known as one."""

    key: str
    recipient: str
    language: Literal["zh", "en"]
    subject: str
    text: str
    episode: str
    severity: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the other side said. `accepted` is not yet `delivered`: it is said where it is known."""

    status: Literal["delivered", "accepted"]
    provider_id: str = ""
    detail: str = ""


class NotifierError(Exception):
    """It did not go out. `permanent`: this recipient or message will never be taken."""

    def __init__(
        self, message: str, *, permanent: bool, code: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.code = code
        self.retry_after_s = retry_after_s


class Notifier(Protocol):
    """A file on the notifiers' shelf ends in a function `open_notifier` that gives one.
    `send` raises NotifierError and nothing else, within its time limit, and names no secret."""

    @property
    def name(self) -> str: ...

    async def send(self, notice: Notice) -> Receipt: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NotifierConfig:
    """What the settings know about a way of telling; each notifier takes what it needs.
    `timeout_s` is wall time for one send; `stream` is where a notifier that prints prints to."""

    url: str = ""
    password: str = field(default="", repr=False)
    sender: str = ""
    timeout_s: float = 20.0
    stream: TextIO | None = field(default=None, repr=False)


class OpenNotifier(Protocol):
    """Connects to nothing yet. ValueError says which setting is wrong and what would be right."""

    def __call__(self, config: NotifierConfig) -> Notifier: ...


def open_notifier(word: str, config: NotifierConfig) -> Notifier:
    """The notifier of that name. LookupError names the nearest valid word."""
    opener = cast(OpenNotifier, from_shelf("response.notifiers", word, "open_notifier"))
    return opener(config)
