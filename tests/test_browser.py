"""The helper that drives Chromium does what its methods say."""

from pathlib import Path

import pytest

from tests.browser import browser

PAGE = """<!doctype html><meta name=viewport content="width=device-width"><title>Page</title><label for=a>Name</label><input id=a><button id=b>Say</button><p id=said></p>
<script>
document.querySelector("#b").onclick = () => { document.querySelector("#said").textContent = document.querySelector("#a").value; };
document.querySelector("#a").onkeydown = event => { if (event.key === "Enter") throw new Error("a fault of the page"); };
</script>"""


@pytest.mark.browser
def test_a_page_is_used_as_a_person_would(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(PAGE)
    with browser() as page:
        page.set_width(375, 700, dark=True)
        page.goto(file)
        page.click("#a")
        page.type("Zoë")
        page.press("!")
        page.click("#b")
        assert page.text("#said") == "Zoë!"
        assert page.evaluate("innerWidth") == 375
        assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is True
        assert page.problems == []
        page.click("#a")
        page.press("Enter")
        page.wait_for("true")
        assert "a fault of the page" in page.problems[0]
        page.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
