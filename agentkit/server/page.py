"""The page to try the agents with: one file that loads nothing else, and may not."""

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple


class Page(NamedTuple):
    """A page and its headers."""

    body: bytes
    headers: dict[str, str]


def read_page() -> Page:
    """Read the page. Its content security policy allows only its own style and script, by their digests."""
    text = files("agentkit.server").joinpath("page.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src {_digest_of('style', text)}; script-src {_digest_of('script', text)}; "
        "connect-src 'self'; img-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
    }
    return Page(text.encode(), headers)


def _digest_of(element: str, text: str) -> str:
    contents = re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return " ".join([f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'" for content in contents])
