import base64
import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import UserMessage
from agentkit.viewer import page_of, run_of
from agentkit.viewer.page import data_of, masked
from tests.viewer import Elements, data_in

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> ]]> & \u2028 \ud83d {{script}}"


def test_only_the_pages_own_style_and_script_may_work() -> None:
    page = Elements(page_of([run_of([UserMessage("Hello")])]))
    policy = next(str(found["content"]) for _, found in page.found if found.get("http-equiv"))
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "connect-src" not in policy
    assert "connect-src 'self'" in page_of([], live=True).replace("&#x27;", "'")
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.texts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_nothing_comes_from_elsewhere_and_text_never_becomes_markup() -> None:
    page = page_of([])
    assert re.findall(r"https?://\S+", page) == ['http://www.w3.org/2000/svg";']  # the name of a kind of element
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", page)
    for tag, attributes in Elements(page).found:
        assert not attributes.keys() & {"src", "style"}, tag
        assert attributes.get("href") in (None, "data:,"), tag
        assert not [name for name in attributes if name.startswith("on")], tag


def test_hostile_text_stays_data() -> None:
    page = page_of([run_of([UserMessage(HOSTILE)])], title="<b>title</b>\ud83d\u202e")
    assert [tag for tag, _ in Elements(page).found].count("script") == 2
    assert data_in(page)["runs"][0]["items"][0]["parts"] == [{"text": HOSTILE}]
    assert "<title>&lt;b&gt;title&lt;/b&gt;\\ud83d\\u202e</title>" in page


@given(st.text())
def test_any_text_is_read_back(text: str) -> None:
    data = data_of([run_of([UserMessage(text)])])
    assert json.loads(data)["runs"][0]["items"][0]["parts"] == [{"text": masked(text)}]
    assert not set("<>&") & set(data)


def test_each_field_has_a_label_and_the_page_its_language() -> None:
    elements = Elements(page_of([])).found
    labels = {attributes.get("for") for tag, attributes in elements if tag == "label"}
    assert {attributes["id"] for tag, attributes in elements if tag in ("input", "select")} == labels
    assert {"listbox", "status", "search", "img"} <= {attributes.get("role") for _, attributes in elements}
    assert ("html", {"lang": "en"}) in elements


@pytest.mark.parametrize(("text", "shown"), [
    ("the key is of-the-environment-1, in short", "the key is …, in short"),
    ("sk-abcdefghijklmnop1234 and Bearer abcdefghijklmnop.123", "… and …"),
    ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "…"),
    ("a short value: x", "a short value: x"),
    ("task-management-of-everything is no key", "task-management-of-everything is no key"),
])  # fmt: skip
def test_keys_are_masked(text: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "of-the-environment-1")
    monkeypatch.setenv("OTHER_TOKEN", "x")
    assert data_in(page_of([run_of([UserMessage(text)])]))["runs"][0]["items"][0]["parts"] == [{"text": shown}]
