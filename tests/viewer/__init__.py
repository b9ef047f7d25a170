"""Runs to be shown, and the data that a page has."""

import json
from html.parser import HTMLParser
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


class Elements(HTMLParser):
    """The elements of a page, with the texts of its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._last = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._last = f"{tag} {dict(attrs).get('type') or ''}".strip()

    def handle_data(self, data: str) -> None:
        self.texts[self._last] = self.texts.get(self._last, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._last = ""


def data_in(page: str) -> Json:
    """The data of a page, as its script reads it."""
    data: Json = json.loads(Elements(page).texts["script application/json"])
    return data
