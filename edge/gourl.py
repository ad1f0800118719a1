"""What Go's net/url and net/http say of URLs, for all who call one."""

from __future__ import annotations

import re

BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
CREDENTIALS = re.compile(r"//[^/?#]*@")


def referer(last: str, following: str) -> str | None:
    """The header of a request after a redirect: the page before, without a password; None where https leads to http."""
    if last.startswith("https:") and not following.startswith("https:"):
        return None
    return CREDENTIALS.sub("//", last, count=1)
