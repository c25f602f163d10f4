"""A real SMTP server in a thread, with an answer of its own for each recipient."""

from __future__ import annotations

import asyncio
import email
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class Mailbox:
    """`refusals`: what RCPT TO is answered for an address; `on_message` is called with each mail
    after it was taken and before that is said; `delay_s` is waited before that."""

    refusals: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    on_message: Callable[[EmailMessage], None] = lambda message: None
    data_answer: str = "250 2.0.0 Ok: queued as 4XyZ12"
    messages: list[EmailMessage] = field(default_factory=list)
    url: str = ""

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if answer := self.refusals.get(address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        message = email.message_from_bytes(envelope.content, policy=default)
        await asyncio.sleep(self.delay_s)
        if self.data_answer.startswith("2"):
            self.messages.append(message)
        self.on_message(message)
        return self.data_answer


def free_port() -> int:
    """aiosmtpd connects to its own port to see that it is up, and so must know it before."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serve_mail(mailbox: Mailbox, **server: Any) -> Iterator[Mailbox]:
    scheme = server.pop("scheme", "smtp")
    port = server.pop("port", None) or free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, **server)
    controller.start()
    mailbox.url = f"{scheme}://127.0.0.1:{port}"
    try:
        yield mailbox
    finally:
        controller.stop()
