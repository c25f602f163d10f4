"""Mail by SMTP: one message to one recipient, and what the server said about it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import re
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, localtime, parseaddr
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import aiosmtplib

from response.notifier import Notice, NotifierConfig, NotifierError, OpenNotifier, Receipt

_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_FORM = "write smtp://host:port, smtp+starttls://user@host:port or smtps://user@host:port"
_DETAIL_LENGTH = 300

# Postfix and Exim name the message that they took in so; others in words of their own
_QUEUE_ID = re.compile(r"(?:queued as |\bid=)([\w.-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed in. `tls`: from the first byte, by STARTTLS, or not at all."""

    host: str
    port: int
    user: str
    tls: str


def parse_url(url: str, password: str) -> Server:
    """ValueError says what is wrong with it; it never repeats what might be a password."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"[email] url names no mail server; {_FORM}")
    if parts.password is not None:
        raise ValueError("[email] url holds a password; write it as [email] password instead")
    try:
        port = parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise ValueError(f"[email] url has no valid port; {_FORM}") from None
    user = unquote(parts.username or "")
    if user and not password:
        raise ValueError(f"[email] url names the user {user!r}; [email] password is missing")
    if user and parts.scheme == "smtp" and not _is_loopback(parts.hostname):
        raise ValueError(
            "[email] url would send the password in clear; use smtps:// or smtp+starttls://"
        )
    return Server(parts.hostname, port, user, parts.scheme)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@dataclass(frozen=True, slots=True)
class EmailNotifier:
    """A connection a message: alerts are rare, and a kept connection dies unnoticed."""

    server: Server
    sender: str
    timeout_s: float
    password: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        return "email"

    async def send(self, notice: Notice) -> Receipt:
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._send(notice)
        except aiosmtplib.SMTPRecipientsRefused as error:
            self._refuse_recipient(error)
        except aiosmtplib.SMTPDataError as error:
            self._refuse(f"message refused: {error.message}", error.code, error)
        except aiosmtplib.SMTPResponseException as error:
            # greeting, login or sender: our settings' fault, not this recipient's or message's
            raise self._error(
                f"{self._where()} said {error.code}: {error.message}", False, str(error.code)
            ) from None
        except TimeoutError:
            raise self._error(
                f"{self._where()} did not answer within {self.timeout_s:g} s", False, "timeout"
            ) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise self._error(f"{self._where()}: {error}", False, "connection") from None
        except ValueError as error:  # an address or header that no mail can have
            raise self._error(f"cannot be written as a mail: {error}", True, "invalid") from None

    async def close(self) -> None:
        return None

    async def _send(self, notice: Notice) -> Receipt:
        content = compose(notice, self.sender).as_bytes(policy=SMTP_POLICY)
        client = aiosmtplib.SMTP(
            hostname=self.server.host,
            port=self.server.port,
            username=self.server.user or None,
            password=self.password or None if self.server.user else None,
            use_tls=self.server.tls == "smtps",
            start_tls=self.server.tls == "smtp+starttls",
            timeout=self.timeout_s,
        )
        try:
            await client.connect()
            _, said = await client.sendmail(_address(self.sender), notice.recipient, content)
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=1.0)  # the message is taken, whatever comes of this
        finally:
            client.close()
        return self._receipt(said)

    def _receipt(self, said: str) -> Receipt:
        found = _QUEUE_ID.search(said)
        return Receipt("accepted", found.group(1) if found else "", self._clean(said))

    def _refuse_recipient(self, error: aiosmtplib.SMTPRecipientsRefused) -> NoReturn:
        refused = error.recipients[0]
        self._refuse(f"recipient refused: {refused.message}", refused.code, error)

    def _refuse(self, message: str, code: int, error: Exception) -> NoReturn:
        raise self._error(f"{message} ({code})", code >= 500, str(code)) from None

    def _error(self, message: str, permanent: bool, code: str) -> NotifierError:
        return NotifierError(self._clean(message), permanent=permanent, code=code)

    def _where(self) -> str:
        return f"{self.server.host}:{self.server.port}"

    def _clean(self, said: str) -> str:
        """One line without our password, whoever repeats it, in clear or as AUTH encodes it."""
        line = " ".join(said.split())
        if self.password:
            login = f"\0{self.server.user}\0{self.password}"
            encoded = [base64.b64encode(text.encode()).decode() for text in (self.password, login)]
            for secret in (*encoded, self.password):
                line = line.replace(secret, "***")
        return line[:_DETAIL_LENGTH]


def compose(notice: Notice, sender: str) -> EmailMessage:
    """The mail. Its Message-ID comes from the key, so that a repeat is known as one; mails of an
    alert refer to one id, so that they are shown as one conversation. ValueError: bad address."""
    domain = _address(sender).rpartition("@")[2] or "localhost"
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"] = sender
    message["To"] = notice.recipient
    message["Subject"] = notice.subject
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = f"<{hashlib.sha256(notice.key.encode()).hexdigest()[:32]}@{domain}>"
    if notice.episode:
        message["References"] = f"<alert.{notice.episode}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"  # Exchange does not know Auto-Submitted
    message["List-Id"] = f"Courtyard <courtyard.{domain}>"
    message["X-Courtyard-Key"] = notice.key
    if notice.severity == "urgent":
        message["Importance"] = "high"
    message["Content-Language"] = "zh-CN" if notice.language == "zh" else "en"
    message.set_content(notice.text, charset="utf-8", cte="base64")
    return message


def _address(sender: str) -> str:
    return parseaddr(sender)[1]


def open_notifier(config: NotifierConfig) -> EmailNotifier:
    """ValueError: a url or sender that cannot be right, with what would be."""
    if "@" not in _address(config.sender):
        raise ValueError(f"[email] from = {config.sender!r} is no address; write name@host")
    server = parse_url(config.url, config.password)
    return EmailNotifier(server, config.sender, config.timeout_s, config.password)


_: OpenNotifier = open_notifier
