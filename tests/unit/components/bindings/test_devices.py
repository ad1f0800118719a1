"""This machine's readings, a serial port (a pty's other end) and a mail server, all real."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ComponentError, Invalid, Unavailable
from edge.model import BindingEvent, BindingResult
from tests.harness import free_port
from tests.harness_components import opened
from tests.harness_mqtt import until


class Target:
    """The app's side. failures: so many events are refused first."""

    def __init__(self, failures: int = 0) -> None:
        self.got: list[BindingEvent] = []
        self.failures = failures

    async def __call__(self, event: BindingEvent) -> BindingResult:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the disk is full")
        self.got.append(event)
        return BindingResult()


# --- host
async def test_readings_come_by_schedule_and_on_demand(tmp_path: Path) -> None:
    async with opened("bindings.host", tmp_path, {"schedule": "@every 20ms", "readings": "memory,disk,uptime"}) as binding:
        target = Target()
        await binding.read(target)
        await until(lambda: len(target.got) >= 2)
        asked = json.loads((await binding.invoke("get", b"", {"readings": "cpu"})).data)

    event = json.loads(target.got[0].data)
    assert set(event) == {"time", "memory", "disk", "uptime"}
    assert 0 < event["memory"]["available_bytes"] <= event["memory"]["total_bytes"]
    assert event["disk"]["/"]["total_bytes"] > 0
    assert asked["cpu"]["count"] >= 1


async def test_a_reading_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="there is no moon; there are cpu"):
        async with opened("bindings.host", tmp_path, {"readings": "cpu,moon"}):
            pass


# --- serial
@pytest.fixture
def pty() -> Iterator[tuple[int, str]]:
    device, port = os.openpty()
    os.set_blocking(device, False)
    name = os.ttyname(port)
    yield device, name
    for one in (device, port):
        os.close(one)


async def test_lines_come_whole_and_wait_for_the_disk(tmp_path: Path, pty: tuple[int, str]) -> None:
    pytest.importorskip("serial")
    device, name = pty
    async with opened("bindings.serial", tmp_path, {"port": name, "delimiter": "\\r\\n", "baudRate": "115200"}) as binding:
        target = Target(failures=2)
        await binding.read(target)
        os.write(device, b"T=2")
        await asyncio.sleep(0.02)
        os.write(device, b"1.5\r\n\r\nT=22\r\nhalf")
        await until(lambda: len(target.got) == 2)
        await binding.invoke("create", b'"LED ON"', {})
        await binding.invoke("create", b'"AP8="', {"base64": "true"})
        written = b""
        while not written.endswith(b"\xff\r\n"):
            try:
                written += os.read(device, 100)
            except BlockingIOError:
                await asyncio.sleep(0.005)

    assert [event.data for event in target.got] == [b"T=21.5", b"T=22"]
    assert target.got[0].metadata == {"port": name}
    assert written == b"LED ON\r\n\x00\xff\r\n"


async def test_a_port_that_comes_later_is_opened(tmp_path: Path, pty: tuple[int, str]) -> None:
    pytest.importorskip("serial")
    device, name = pty
    link = tmp_path / "ttyUSB0"
    async with opened("bindings.serial", tmp_path, {"port": str(link)}) as binding:
        target = Target()
        await binding.read(target)
        assert "ttyUSB0" in binding.unhealthy()
        with pytest.raises(Unavailable, match="ttyUSB0"):
            await binding.invoke("create", b"x", {})
        link.symlink_to(name)
        await until(lambda: binding.unhealthy() is None)
        os.write(device, b"hello\n")
        await until(lambda: bool(target.got))

    assert target.got[0].data == b"hello"


# --- smtp
class Mailbox:
    """A real SMTP server's handler that keeps what it gets."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        from email import message_from_bytes, policy

        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append((envelope.rcpt_tos, message))
        return "250 OK" if "refuse" not in str(message["Subject"]) else "550 no"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    controller_module = pytest.importorskip("aiosmtpd.controller")
    box, port = Mailbox(), free_port()
    controller = controller_module.Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_mails_go_to_everybody_with_daprs_fields(tmp_path: Path, mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    raw = {"host": "127.0.0.1", "port": str(port), "emailFrom": "shed@example.com", "subject": "frost", "emailTo": "a@example.com"}
    async with opened("bindings.smtp", tmp_path, raw) as binding:
        request = {"emailTo": "b@example.com; c@example.com", "emailBCC": "d@example.com", "priority": "1", "subject": "fröst"}
        await binding.invoke("create", '"<b>−3 °C</b>"'.encode(), request)
        await binding.invoke("create", b"plain", {})
        with pytest.raises(ComponentError, match="sending email failed"):
            await binding.invoke("create", b"x", {"subject": "refuse"})

    recipients, mail = box.mails[0]
    assert recipients == ["b@example.com", "c@example.com", "d@example.com"]
    assert (mail["Subject"], mail["X-Priority"], mail["Bcc"]) == ("fröst", "1", None)
    assert mail.get_content_type() == "text/html"
    assert mail.get_content().strip() == "<b>−3 °C</b>"
    assert box.mails[1][0] == ["a@example.com"]  # a request's address does not stay


@pytest.mark.parametrize(
    ("more", "request_", "text"),
    [
        ({}, {}, "emailFrom property not supplied in configuration- or request-metadata"),
        ({"emailFrom": "a@b"}, {"emailTo": "c@d"}, "subject property not supplied"),
        ({"emailFrom": "a@b", "emailTo": "c@d", "subject": "s"}, {"priority": "9"}, "priority value must be between 1"),
        ({"emailFrom": "a@b", "emailTo": "c@d"}, {"subject": "s\r\nBcc: x@y"}, "subject has a line break"),
    ],
)
async def test_what_is_missing_is_named(tmp_path: Path, more: dict[str, str], request_: dict[str, str], text: str) -> None:
    async with opened("bindings.smtp", tmp_path, {"host": "127.0.0.1", "port": str(free_port()), **more}) as binding:
        with pytest.raises(Invalid, match=text):
            await binding.invoke("create", b"x", request_)


async def test_user_without_password_and_no_server(tmp_path: Path) -> None:
    raw = {"host": "127.0.0.1", "port": str(free_port()), "emailFrom": "a@b", "emailTo": "c@d", "subject": "s"}
    with pytest.raises(Invalid, match="both user and password"):
        async with opened("bindings.smtp", tmp_path, {**raw, "user": "me"}):
            pass
    async with opened("bindings.smtp", tmp_path, raw) as binding:
        with pytest.raises(Unavailable, match="sending email failed: dial tcp"):
            await binding.invoke("create", b"x", {})
