"""The development inbox, with real SMTP in and real HTTP out."""

import asyncio
import re
import smtplib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from insula.core.mail import Mail, Mailer, MailRefused, Relay
from insula.embedded import letters
from insula.embedded.inbox import Inbox

INVITATION = Mail(
    to="ada@example.org",
    to_name="Zoë",
    template="invitations/invitation",
    message_id="out_01jabc",
    context={
        "token": "ins_test_0123456789",
        "organization_name": "Acme <script>alert(1)</script>",
        "inviter_name": "Grace Hopper",
        "role_name": "Member",
        "open_until": "10 March 2026, 09:30 UTC",
    },
)
ATTEMPT = Mail(to="grace@example.org", template="identity/sign_up_attempt", message_id="out_01jxyz")


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[Inbox]:
    inbox = Inbox(tmp_path / "mail")
    await inbox.start()
    yield inbox
    await inbox.stop()


@pytest.fixture
async def browser(inbox: Inbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=inbox.url, trust_env=False) as client:
        yield client


async def post(inbox: Inbox, *mails: Mail) -> None:
    relay = Relay(host="127.0.0.1", port=inbox.smtp_port, tls="none")
    base_url = "https://app.example.com"
    mailer = Mailer(relay, sender="hello@insula.example", sender_name="Insula", base_url=base_url)
    for mail in mails:
        await mailer.send(mail)


async def read(browser: httpx.AsyncClient, **filters: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await browser.get("/messages", params=filters)).json()["data"]
    return found


async def say(port: int, words: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(words)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def test_a_letter_to_nobody_is_refused_for_good(inbox: Inbox, browser: httpx.AsyncClient) -> None:
    with pytest.raises(MailRefused, match="550 no such mailbox"):
        await post(inbox, msgspec.structs.replace(ATTEMPT, to="who@Undeliverable.example"))
    await post(inbox, ATTEMPT)
    assert [letter["to"] for letter in await read(browser)] == [[ATTEMPT.to]]


async def test_what_the_mailer_sends_can_be_read_as_json(inbox: Inbox, browser: httpx.AsyncClient) -> None:
    await post(inbox, INVITATION)
    (letter,) = await read(browser)
    assert letter["to"] == ["ada@example.org"]
    assert letter["from"] == "Insula <hello@insula.example>"
    assert letter["subject"] == "Grace Hopper invites you to Acme <script>alert(1)</script>"
    assert letter["message_id"] == "<out_01jabc@insula.example>"
    assert letter["links"] == [
        "https://app.example.com/accept-invitation#token=ins_test_0123456789",
        "https://app.example.com/",
    ]
    assert "\n\nAccept the invitation:\n\n" in letter["text"]
    assert "Acme &lt;script&gt;" in letter["html"]
    assert (await browser.get(f"/messages/{letter['id']}")).json() == letter


async def test_letters_are_found_by_address_and_subject(inbox: Inbox, browser: httpx.AsyncClient) -> None:
    await post(inbox, INVITATION, ATTEMPT)
    invitation, attempt = 1, 2

    async def found(**filters: str) -> list[int]:
        return [letter["id"] for letter in await read(browser, **filters)]

    assert await found() == [attempt, invitation]
    assert await found(to="Grace@Example.org") == [attempt]
    assert await found(subject="INVITES you") == [invitation]
    assert await found(to="ada@example.org", subject="already have") == []
    assert await found(to="example.org") == []
    assert (await browser.get("/messages?too=ada@example.org")).status_code == 400


async def test_a_restart_keeps_the_letters(tmp_path: Path) -> None:
    for number in (1, 2):
        inbox = Inbox(tmp_path)
        await inbox.start()
        await post(inbox, INVITATION)
        assert [letter.id for letter in inbox.letters.find()] == [2, 1][-number:]
        await inbox.stop()
    (tmp_path / "3.json").write_text('{"written": "by another version"}')
    reopened = Inbox(tmp_path).letters.find()
    assert [letter.id for letter in reopened] == [2, 1]
    assert reopened[0].links[0].startswith("https://app.example.com/accept-invitation")


async def test_only_the_last_letters_are_kept(inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "KEPT", 2)
    await post(inbox, ATTEMPT, INVITATION, INVITATION)
    assert [letter.id for letter in inbox.letters.find()] == [3, 2]
    assert sorted(path.name for path in (tmp_path / "mail").iterdir()) == ["2.json", "3.json"]


async def test_deleting_empties_the_inbox_and_its_folder(
    inbox: Inbox, browser: httpx.AsyncClient, tmp_path: Path
) -> None:
    await post(inbox, INVITATION, ATTEMPT)
    assert (await browser.delete("/messages")).status_code == 204
    assert await read(browser) == []
    assert list((tmp_path / "mail").iterdir()) == []
    await post(inbox, ATTEMPT)
    assert [letter["id"] for letter in await read(browser)] == [3]


async def test_an_unchanged_inbox_is_not_sent_twice(inbox: Inbox, browser: httpx.AsyncClient) -> None:
    await post(inbox, INVITATION)
    known = {"if-none-match": (await browser.get("/messages")).headers["etag"]}
    assert (await browser.get("/messages", headers=known)).status_code == 304
    await post(inbox, ATTEMPT)
    assert (await browser.get("/messages", headers=known)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/messages", "/messages/1", "/messages/9"])
async def test_head_is_answered_as_get_without_the_body(inbox: Inbox, browser: httpx.AsyncClient, path: str) -> None:
    await post(inbox, ATTEMPT)
    got, asked = await browser.get(path), await browser.head(path)
    assert (asked.status_code, asked.content) == (got.status_code, b"")
    for name in ("content-type", "content-length", "cache-control"):
        assert asked.headers[name] == got.headers[name]


async def test_only_this_machine_reaches_it_and_only_by_its_own_name(inbox: Inbox, browser: httpx.AsyncClient) -> None:
    await post(inbox, INVITATION)
    port = inbox.http_port
    for own in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
        assert (await browser.get("/messages", headers={"host": own})).status_code == 200
    for rebound in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", ""):
        for method, path in (
            ("GET", "/"),
            ("GET", "/messages"),
            ("GET", "/messages/1"),
            ("DELETE", "/messages"),
        ):
            answer = await browser.request(method, path, headers={"host": rebound})
            assert (answer.status_code, answer.json()) == (421, {"detail": "Misdirected Request"})
    assert len(await read(browser)) == 1
    for port in (inbox.smtp_port, inbox.http_port):
        with pytest.raises(OSError, match=r".+"):
            await asyncio.open_connection("127.0.0.2", port)


async def test_other_sites_can_neither_read_nor_frame_nor_delete(inbox: Inbox, browser: httpx.AsyncClient) -> None:
    await post(inbox, INVITATION)
    origin = {"origin": "https://evil.example"}
    for path in ("/", "/messages", "/messages/1", "/messages/9"):
        answer = await browser.get(path, headers=origin)
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    preflight = {**origin, "access-control-request-method": "DELETE"}
    assert (await browser.options("/messages", headers=preflight)).status_code == 405


async def test_the_page_runs_its_own_script_alone(browser: httpx.AsyncClient) -> None:
    first, second = await browser.get("/"), await browser.get("/")
    policy = first.headers["content-security-policy"]
    (nonce,) = re.findall(r"script-src 'nonce-([\w-]+)';", policy)
    assert policy.startswith("default-src 'none'")
    assert f'<script nonce="{nonce}">' in first.text
    assert nonce not in second.text
    assert not re.search(r"(src|href)=\"(https?:)?//", first.text)


async def test_a_letter_is_shown_without_scripts_or_origin(inbox: Inbox, browser: httpx.AsyncClient) -> None:
    await post(inbox, INVITATION)
    answer = await browser.get("/messages/1/html")
    policy = answer.headers["content-security-policy"]
    assert "Accept the invitation" in answer.text
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert policy.startswith("sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'")
    assert "script" not in policy
    assert "allow-same-origin" not in policy


@pytest.mark.parametrize("path", ["/x", "/messages/2", "/messages/01x", "/messages/1/raw", "/messages/" + "9" * 99])
async def test_what_is_not_there_is_not_found(inbox: Inbox, browser: httpx.AsyncClient, path: str) -> None:
    await post(inbox, INVITATION)
    assert (await browser.get(path)).status_code == 404


async def test_noise_gets_no_answer_and_does_no_harm(inbox: Inbox, browser: httpx.AsyncClient) -> None:
    assert await say(inbox.http_port, b"\x16\x03\x01 not a request\r\n\r\n") == b""
    assert await say(inbox.http_port, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 9999) == b""
    # A web page that posts a form to the SMTP port is sent away before its body counts.
    form = b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * 9 + b"\r\nHELO x\r\nMAIL FROM:<a@b.c>\r\n"
    assert b"too many" in (await say(inbox.smtp_port, form)).lower()
    assert await read(browser) == []


async def test_letters_with_utf8_headers_and_without_html_are_shown(inbox: Inbox, browser: httpx.AsyncClient) -> None:
    def send() -> None:
        with smtplib.SMTP("127.0.0.1", inbox.smtp_port) as smtp:
            letter = (
                "From: Zoë <z@example.org>\r\nSubject: Grüße\r\n\r\nSee http://a.example/x?y=1, (http://b.example)."
            )
            smtp.sendmail("z@example.org", ["a@example.org", "b@example.org"], letter.encode(), ["SMTPUTF8"])

    await asyncio.to_thread(send)
    (letter,) = await read(browser, to="b@example.org")
    assert (letter["from"], letter["subject"]) == ("Zoë <z@example.org>", "Grüße")
    assert letter["links"] == ["http://a.example/x?y=1", "http://b.example"]
    assert letter["html"] == ""


async def test_a_port_that_somebody_took_meanwhile_is_replaced_by_a_free_one(tmp_path: Path) -> None:
    first = Inbox(tmp_path / "first")
    await first.start()
    second = Inbox(tmp_path / "second", first.smtp_port, first.http_port)
    await second.start()
    assert not {second.smtp_port, second.http_port} & {first.smtp_port, first.http_port}
    await first.stop()
    await second.stop()


async def test_stopping_does_not_wait_for_idle_visitors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox(tmp_path)
    await inbox.start()
    connections = [await asyncio.open_connection("127.0.0.1", port) for port in (inbox.http_port, inbox.smtp_port)]
    await asyncio.sleep(0.05)
    await asyncio.wait_for(inbox.stop(), 1)
    for reader, writer in connections:
        await asyncio.wait_for(reader.read(), 1)
        writer.close()
    assert caplog.records == []
    again = Inbox(tmp_path, inbox.smtp_port, inbox.http_port)
    await again.start()
    assert again.url == inbox.url
    await again.stop()
