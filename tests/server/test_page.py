import base64
import hashlib
import re
from html.parser import HTMLParser

from agentkit.server.page import read_page


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


TEXT = read_page().body.decode()
ELEMENTS = Elements()
ELEMENTS.feed(TEXT)


def test_only_the_pages_own_style_and_script_may_work() -> None:
    policy = read_page().headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        (content,) = re.findall(f"<{kind}>(.*?)</{kind}>", TEXT, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_nothing_comes_from_elsewhere_and_text_never_becomes_markup() -> None:
    assert "://" not in TEXT
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", TEXT)
    for tag, attributes in ELEMENTS.found:
        assert not attributes.keys() & {"src", "href", "style"}, tag
        assert not [name for name in attributes if name.startswith("on")], tag


def test_each_field_has_a_label() -> None:
    labels = {attributes.get("for") for tag, attributes in ELEMENTS.found if tag == "label"}
    fields = {attributes["id"] for tag, attributes in ELEMENTS.found if tag in ("input", "select", "textarea")}
    assert fields == labels
    roles = {attributes.get("role") for _, attributes in ELEMENTS.found}
    assert {"log", "status"} <= roles
    assert ("html", {"lang": "en"}) in ELEMENTS.found
