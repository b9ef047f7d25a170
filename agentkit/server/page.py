"""The page: one file that takes nothing from elsewhere, and may not."""

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple


class Page(NamedTuple):
    """A page and the headers that go with it."""

    body: bytes
    headers: dict[str, str]


def page() -> Page:
    """Read the page. Only the style and the script that stand in it are allowed to work."""
    text = files("agentkit.server").joinpath("page.html").read_text(encoding="utf-8")
    policy = [
        "default-src 'none'",
        f"style-src {_source('style', text)}",
        f"script-src {_source('script', text)}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "; ".join(policy),
        "referrer-policy": "no-referrer",
    }
    return Page(text.encode(), headers)


def _source(element: str, text: str) -> str:
    found = re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return " ".join([f"'sha256-{b64encode(sha256(each.encode()).digest()).decode()}'" for each in found])
