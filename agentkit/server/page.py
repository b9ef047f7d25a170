"""The page to try the agents with: a few files that load nothing from elsewhere, and may not."""

from importlib.resources import files
from typing import NamedTuple

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
# Trusted Types forbid every way in which the browser would read a text as markup.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


class Page(NamedTuple):
    """A file of the page and its headers."""

    body: bytes
    headers: dict[str, str]


def read_pages() -> dict[str, Page]:
    """Read the files of the page, each by its path on the server."""
    return {
        _path(file.name): _page(file.name, file.read_bytes())
        for file in files("agentkit.server").joinpath("web").iterdir()
    }


def _path(name: str) -> str:
    return "" if name == "index.html" else f"/web/{name}"


def _page(name: str, body: bytes) -> Page:
    headers = {
        "content-type": f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8",
        "content-security-policy": _POLICY,
        "referrer-policy": "no-referrer",
    }
    return Page(body, headers)
