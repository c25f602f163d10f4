"""What every notifier on the shelf promises, each against the other side that it has."""

from __future__ import annotations

import asyncio
import io
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from ingest.shelf import shelf_words
from response.notifier import Notice, Notifier, NotifierConfig, NotifierError, open_notifier
from response.notifiers.memory import MemoryNotifier
from tests.response.mailbox import Mailbox, free_port, serve_mail

SECRET = "s3cret-Pa55"
NOTICE = Notice(
    key="0123456789abcdef|firing|li|x",
    recipient="li@example.org",
    language="zh",
    subject="【严重】7栋：供水压力低",
    text="供水压力低 210 kPa\n",
    episode="0123456789abcdef",
    severity="serious",
)


@dataclass
class OtherSide:
    """A notifier whose other side takes `NOTICE`, and ways to have it refused or not answered:
    each a notifier, a notice, and whether the refusal is permanent."""

    config: NotifierConfig
    taken: Callable[[], int]
    refusals: dict[str, tuple[NotifierConfig, Notice, bool]]
    open: Callable[[NotifierConfig], Notifier] | None = None


class ClosedStream(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError("no space left on device")


def console_side(stack: ExitStack) -> OtherSide:
    stream = io.StringIO()
    full = NotifierConfig(password=SECRET, stream=ClosedStream())
    return OtherSide(
        NotifierConfig(password=SECRET, stream=stream),
        lambda: stream.getvalue().count("\n"),
        {"full disk": (full, NOTICE, False)},
    )


def memory_side(stack: ExitStack) -> OtherSide:
    notifier = MemoryNotifier(
        refusals={
            "gone@example.org": NotifierError("gone", permanent=True, code="550"),
            "later@example.org": NotifierError("later", permanent=False, code="451"),
        }
    )
    config = NotifierConfig(password=SECRET)
    return OtherSide(
        config,
        lambda: notifier.count,
        {
            "gone": (config, replace(NOTICE, recipient="gone@example.org"), True),
            "later": (config, replace(NOTICE, recipient="later@example.org"), False),
        },
        lambda _: notifier,
    )


def email_side(stack: ExitStack) -> OtherSide:
    box = stack.enter_context(
        serve_mail(
            Mailbox(
                refusals={
                    "gone@example.org": "550 5.1.1 no such user",
                    "later@example.org": f"451 4.7.1 greylisted {SECRET}",
                }
            )
        )
    )
    bad_data = stack.enter_context(serve_mail(Mailbox(data_answer="554 5.6.0 not this message")))
    busy = stack.enter_context(serve_mail(Mailbox(data_answer="452 4.3.1 disk is full")))
    silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    slow = stack.enter_context(serve_mail(Mailbox(delay_s=5.0)))
    config = NotifierConfig(box.url, SECRET, "Courtyard <courtyard@example.org>", 1.0)

    def at(url: str) -> NotifierConfig:
        return replace(config, url=url)

    silent_url = f"smtp://127.0.0.1:{silent.getsockname()[1]}"
    login_url = box.url.replace("smtp://", "smtp://li@")
    return OtherSide(
        config,
        lambda: len(box.messages),
        {
            "no such user": (config, replace(NOTICE, recipient="gone@example.org"), True),
            "greylisted": (config, replace(NOTICE, recipient="later@example.org"), False),
            "message refused": (at(bad_data.url), NOTICE, True),
            "disk full": (at(busy.url), NOTICE, False),
            "nobody there": (at(f"smtp://127.0.0.1:{free_port()}"), NOTICE, False),
            "says nothing": (at(silent_url), NOTICE, False),
            "slow": (at(slow.url), NOTICE, False),
            "no login there": (at(login_url), NOTICE, False),
            "no TLS there": (at(box.url.replace("smtp://", "smtps://")), NOTICE, False),
            "no STARTTLS": (at(box.url.replace("smtp://", "smtp+starttls://")), NOTICE, False),
            "no address": (config, replace(NOTICE, recipient="li\r\nRCPT TO:<x@y>"), True),
            "not ASCII": (config, replace(NOTICE, recipient="李@example.org"), True),
        },
    )


SIDES = {"console": console_side, "memory": memory_side, "email": email_side}
WORDS = shelf_words("response.notifiers")
LIMIT_S = 1.0


@pytest.fixture(params=WORDS)
def word(request: pytest.FixtureRequest) -> str:
    assert request.param in SIDES, f"write the other side of {request.param!r} into SIDES"
    return str(request.param)


@pytest.fixture
def side(word: str) -> Iterator[OtherSide]:
    with ExitStack() as stack:
        yield SIDES[word](stack)


def opened(word: str, side: OtherSide, config: NotifierConfig) -> Notifier:
    return side.open(config) if side.open else open_notifier(word, config)


async def test_a_notifier_is_called_by_its_word(word: str, side: OtherSide) -> None:
    notifier = opened(word, side, side.config)
    assert notifier.name == word
    await notifier.close()


async def test_what_was_taken_has_a_receipt(word: str, side: OtherSide) -> None:
    notifier = opened(word, side, side.config)
    receipt = await notifier.send(NOTICE)
    again = await notifier.send(replace(NOTICE, key="other"))
    await notifier.close()
    assert {receipt.status, again.status} <= {"accepted", "delivered"}
    assert side.taken() == 2


async def test_refusals_are_permanent_or_not_and_name_no_secret(word: str, side: OtherSide) -> None:
    for name, (config, notice, permanent) in side.refusals.items():
        notifier = opened(word, side, config)
        started_s = time.monotonic()
        with pytest.raises(NotifierError) as caught:
            await notifier.send(notice)
        took_s = time.monotonic() - started_s
        await notifier.close()
        assert caught.value.permanent is permanent, (name, str(caught.value))
        assert took_s < LIMIT_S + 2.0, name
        assert SECRET not in str(caught.value), name
        assert SECRET not in repr(caught.value), name
        assert str(caught.value), name
    assert side.taken() == 0


def test_neither_a_notifier_nor_its_settings_show_the_password(word: str, side: OtherSide) -> None:
    assert SECRET not in repr(side.config)
    assert SECRET not in repr(opened(word, side, side.config))


async def test_many_sends_at_once_do_not_mix(word: str, side: OtherSide) -> None:
    notifier = opened(word, side, replace(side.config, timeout_s=10.0))
    await asyncio.gather(*(notifier.send(replace(NOTICE, key=str(n))) for n in range(8)))
    await notifier.close()
    assert side.taken() == 8


def test_a_wrong_word_names_the_nearest() -> None:
    with pytest.raises(LookupError, match="did you mean 'email'"):
        open_notifier("emial", NotifierConfig())
