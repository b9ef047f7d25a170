import re
from html.parser import HTMLParser

import httpx
import pytest

from agentkit import Agent
from agentkit.server import ChatServer
from agentkit.server.page import read_pages
from tests.scripted import Scripted
from tests.server.served import KEY, served


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


PAGES = read_pages()
TEXT = PAGES[""].body.decode()
SCRIPTS = {path: page.body.decode() for path, page in PAGES.items() if path.endswith(".js")}
ELEMENTS = Elements()
ELEMENTS.feed(TEXT)


def test_only_the_servers_own_files_may_work() -> None:
    for page in PAGES.values():
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "trusted-types 'none'" in policy
        assert "unsafe" not in policy


def test_nothing_comes_from_elsewhere_and_text_never_becomes_markup() -> None:
    everything = "".join(page.body.decode() for page in PAGES.values())
    assert not re.search(r"(?<!https\?:\\/\\)https?://\w|@import|url\(", everything)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|DOMParser|srcdoc", everything
    )
    for tag, attributes in ELEMENTS.found:
        for name in ("src", "href"):
            assert (attributes.get(name) or "web/").startswith(("web/", "data:,")), tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag


def test_the_modules_import_only_one_another() -> None:
    for text in SCRIPTS.values():
        for name in re.findall(r'from "(.*)"', text):
            assert f"/web/{name.removeprefix('./')}" in SCRIPTS
        assert len(text.splitlines()) <= 300


def test_each_field_has_a_label() -> None:
    labels = {attributes.get("for") for tag, attributes in ELEMENTS.found if tag == "label"}
    fields = {
        attributes["id"]
        for tag, attributes in ELEMENTS.found
        if tag in ("input", "select", "textarea") and "aria-label" not in attributes
    }
    assert fields == labels
    roles = {attributes.get("role") for _, attributes in ELEMENTS.found}
    assert {"log", "status"} <= roles
    assert ("html", {"lang": "en"}) in ELEMENTS.found


def test_the_files_are_served_without_a_key() -> None:
    with served(ChatServer(Agent(Scripted()), keys=KEY, page=True)) as url, httpx.Client(base_url=url) as http:
        for path, page in PAGES.items():
            response = http.get(path)
            assert (response.status_code, response.content) == (200, page.body)
            assert response.headers["content-type"] == page.headers["content-type"]
            assert http.post(path).status_code == 405
        assert http.get("/web/other.js").status_code == 404


@pytest.mark.parametrize("path", ["/", "/web/app.js"])
def test_there_is_a_page_only_where_it_is_wanted(path: str) -> None:
    with served(ChatServer(Agent(Scripted()))) as url:
        assert httpx.get(url + path).status_code == 404
