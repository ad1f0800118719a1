"""`bindings.smtp`: e-mails, HTML, by operation `create`.

Source: components-contrib bindings/smtp @1.18.4 (fields, texts, gomail's use of STARTTLS and of TLS on port 465); differs: an address of
one request does not stay for the next one.
"""

from __future__ import annotations

import asyncio
import re
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import formatdate, getaddresses, make_msgid
from typing import ClassVar

from components.bindings._go import unquote
from edge.component import Context, Feature
from edge.errors import ComponentError, Invalid, Unavailable, Unsupported
from edge.model import BindingResult
from edge.record import record
from edge.spec import meta

TIMEOUT = 30.0
IMPLICIT_TLS_PORT = 465
REQUIRED = "smtp binding error: host and port fields are required in metadata"


@record
class Fields:
    """Metadata of the component."""

    host: str = meta(doc="The server's name.", missing=REQUIRED, example="smtp.example.com")
    port: int = meta(doc="The server's port; 465 means TLS from the start.", missing=REQUIRED, least=1, most=65535, example="587")
    user: str = meta("", doc="User name, where the server wants one.")
    password: str = meta("", doc="Password.", sensitive=True)
    skip_tls_verify: bool = meta(False, name="skipTLSVerify", doc="Accept any certificate of the server.")
    email_from: str = meta("", doc="Sender; a request's metadata of that name wins, for the next six fields too.")
    email_to: str = meta("", doc="Recipients, separated by `;`.")
    email_cc: str = meta("", name="emailCC", doc="Recipients of a copy.")
    email_bcc: str = meta("", name="emailBCC", doc="Recipients of a hidden copy.")
    subject: str = meta("", doc="The subject.")
    priority: int = meta(3, doc="From 1 (highest) to 5 (lowest).", least=1, most=5)


class Binding:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.OUTPUT_BINDING})
    operations: ClassVar[tuple[str, ...]] = ("create",)
    journal_out: ClassVar[bool] = False

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata

    async def open(self) -> None:
        """Connects to nothing yet. Raises Invalid when only one of user and password is given."""
        if bool(self.metadata.user) != bool(self.metadata.password):
            raise Invalid("smtp binding error: both user and password fields are required in metadata")

    async def close(self) -> None: ...

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        """Return when the server took the mail. Raises Invalid, Unavailable, ComponentError."""
        if operation != "create":
            raise Unsupported(f"operation {operation} is not supported")
        message = self._message(data, metadata)
        try:
            await asyncio.to_thread(self._send, message)
        except smtplib.SMTPException as error:
            raise ComponentError(f"error from smtp binding, sending email failed: {error}") from error
        except OSError as error:
            where = f"dial tcp {self.metadata.host}:{self.metadata.port}"
            text = f"error from smtp binding, sending email failed: {where}: {error.strerror or error}"
            raise Unavailable(text) from error
        return None

    def _message(self, data: bytes, request: Mapping[str, str]) -> EmailMessage:
        fields, message = self.metadata, EmailMessage()
        sender = self._wanted("emailFrom", request, fields.email_from)
        to = self._wanted("emailTo", request, fields.email_to)
        subject = self._wanted("subject", request, fields.subject)
        message["From"] = sender
        for name, text in (
            ("To", to),
            ("Cc", request.get("emailCC") or fields.email_cc),
            ("Bcc", request.get("emailBCC") or fields.email_bcc),
        ):
            if text:
                message[name] = ", ".join(part.strip() for part in text.split(";") if part.strip())
        message["Subject"] = subject
        message["X-Priority"] = str(self._priority(request.get("priority", "")))
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2] or None)
        message.set_content(unquote(data).decode("utf-8", "replace"), subtype="html", cte="quoted-printable")
        return message

    @staticmethod
    def _wanted(name: str, request: Mapping[str, str], configured: str) -> str:
        text = request.get(name) or configured
        if not text:
            raise Invalid(f"smtp binding error: {name} property not supplied in configuration- or request-metadata")
        if "\r" in text or "\n" in text:
            raise Invalid(f"smtp binding error: {name} has a line break")
        return text

    def _priority(self, text: str) -> int:
        if not text:
            return self.metadata.priority
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            raise Invalid(f'strconv.Atoi: parsing "{text}": invalid syntax')
        if not 1 <= int(text) <= 5:
            raise Invalid("smtp binding error:  priority value must be between 1 (highest) and 5 (lowest)")
        return int(text)

    def _send(self, message: EmailMessage) -> None:
        fields = self.metadata
        context = ssl.create_default_context()
        if fields.skip_tls_verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        everyone = [address for _, address in getaddresses([str(message[name]) for name in ("To", "Cc", "Bcc") if name in message])]
        implicit = fields.port == IMPLICIT_TLS_PORT
        server: smtplib.SMTP
        if implicit:
            server = smtplib.SMTP_SSL(fields.host, fields.port, timeout=TIMEOUT, context=context)
        else:
            server = smtplib.SMTP(fields.host, fields.port, timeout=TIMEOUT)
        with server:
            server.ehlo()
            if not implicit and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            if fields.user:
                server.login(fields.user, fields.password)
            server.send_message(message, to_addrs=everyone)
