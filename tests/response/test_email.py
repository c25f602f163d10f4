from __future__ import annotations

import ssl
import subprocess
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult

from response.notifier import NotifierConfig, NotifierError
from response.notifiers.email import compose, open_notifier, parse_url
from tests.response.mailbox import Mailbox, serve_mail
from tests.response.test_notifier_contract import NOTICE, SECRET

SENDER = "日华里值班 <courtyard@example.org>"


async def test_a_mail_arrives_as_it_was_meant() -> None:
    with serve_mail(Mailbox()) as box:
        receipt = await open_notifier(NotifierConfig(box.url, sender=SENDER)).send(NOTICE)
    (message,) = box.messages
    assert (message["To"], message["From"]) == ("li@example.org", SENDER)
    assert message["Subject"] == NOTICE.subject
    assert message.get_content().splitlines() == NOTICE.text.splitlines()
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.tzinfo is not None
    assert (receipt.status, receipt.provider_id) == ("accepted", "4XyZ12")


async def test_a_repeat_carries_the_same_message_id_and_another_notice_another() -> None:
    first, again = compose(NOTICE, SENDER), compose(NOTICE, SENDER)
    other = compose(NOTICE.__class__(**{**_fields(), "key": "k2"}), SENDER)
    assert first["Message-ID"] == again["Message-ID"] != other["Message-ID"]
    assert first["References"] == other["References"]
    assert first["Message-ID"].endswith("@example.org>")


def _fields() -> dict[str, Any]:
    return {name: getattr(NOTICE, name) for name in NOTICE.__slots__}


def test_a_mail_is_plain_ascii_on_the_wire() -> None:
    assert compose(NOTICE, SENDER).as_bytes(policy=SMTP).isascii()


async def test_codes_of_the_server_are_kept() -> None:
    box = Mailbox(refusals={"li@example.org": "450 4.2.1 mailbox busy"})
    with serve_mail(box), pytest.raises(NotifierError, match="mailbox busy") as caught:
        await open_notifier(NotifierConfig(box.url, sender=SENDER)).send(NOTICE)
    assert (caught.value.code, caught.value.permanent) == ("450", False)


@pytest.mark.parametrize(
    ("url", "password", "expected"),
    [
        ("smtp://mail.example.org", "", ("mail.example.org", 25, "", "smtp")),
        ("smtp://127.0.0.1:2525", "", ("127.0.0.1", 2525, "", "smtp")),
        ("smtps://a%40b@mail.example.org", "x", ("mail.example.org", 465, "a@b", "smtps")),
        ("smtp+starttls://a@[::1]:25", "x", ("::1", 25, "a", "smtp+starttls")),
        ("smtp://a@localhost", "x", ("localhost", 25, "a", "smtp")),
    ],
)
def test_a_url_says_where_and_how(url: str, password: str, expected: tuple[object, ...]) -> None:
    server = parse_url(url, password)
    assert (server.host, server.port, server.user, server.tls) == expected


@pytest.mark.parametrize(
    ("url", "password", "reason"),
    [
        ("", "", "names no mail server"),
        ("http://mail.example.org", "", "write smtp://host:port"),
        ("smtp://mail:99999", "", "no valid port"),
        (f"smtps://li:{SECRET}@mail", "", r"write it as \[email\] password"),
        ("smtps://li@mail", "", "password is missing"),
        ("smtp://li@mail.example.org", SECRET, "in clear"),
    ],
)
def test_a_url_that_cannot_be_right_is_refused(url: str, password: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_url(url, password)
    assert SECRET not in str(caught.value)


def test_a_sender_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="'Courtyard' is no address"):
        open_notifier(NotifierConfig("smtp://mail", sender="Courtyard"))


def certificate(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate that nobody has signed."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    )
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", *words.split(), *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


class Door:
    """Lets in whoever knows the password."""

    def __call__(self, server: Any, session: Any, envelope: Any, kind: str, data: Any) -> Any:
        return AuthResult(success=data.password == SECRET.encode(), handled=False)


async def test_login_over_starttls_with_a_trusted_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    options: dict[str, Any] = {"tls_context": context, "authenticator": Door()}
    with serve_mail(Mailbox(), scheme="smtp+starttls", auth_required=True, **options) as box:
        url = box.url.replace("://", "://li@")
        await open_notifier(NotifierConfig(url, SECRET, SENDER)).send(NOTICE)
        assert len(box.messages) == 1
        with pytest.raises(NotifierError) as caught:
            await open_notifier(NotifierConfig(url, "wr0ng-one", SENDER)).send(NOTICE)
    assert (caught.value.permanent, caught.value.code) == (False, "535")
    assert "wr0ng-one" not in str(caught.value)


async def test_a_certificate_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    context = certificate(tmp_path)
    with serve_mail(Mailbox(), scheme="smtp+starttls", tls_context=context) as box:
        notifier = open_notifier(NotifierConfig(box.url, sender=SENDER))
        with pytest.raises(NotifierError, match="certificate") as caught:
            await notifier.send(NOTICE)
    assert caught.value.permanent is False
    assert box.messages == []
