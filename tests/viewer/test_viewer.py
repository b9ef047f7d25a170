"""The page in a browser: what a person sees and does there."""

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentkit import Agent, AssistantMessage, UserMessage
from agentkit.cli.live_page import LivePage
from agentkit.cli.served_runs import ServedRuns
from agentkit.server import ChatServer
from agentkit.viewer import differences, graph_of, page_of, run_of
from tests.browser import Page, browser
from tests.scripted import called
from tests.server.served import COMPLETIONS, asking, served
from tests.viewer import samples

pytestmark = pytest.mark.browser

OPENS_WITHIN = 2.0
"""Seconds of the processor until a run of 10,000 steps can be read; on a machine of 2026 it takes 0.5."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Page]:
    with browser() as page:
        yield page


@pytest.fixture
def page(shared: Page) -> Iterator[Page]:
    """The page, in which nothing may go wrong."""
    shared.set_width(1100)
    shared.problems.clear()
    yield shared
    assert shared.problems == []


def show(page: Page, folder: Path, html: str) -> None:
    file = folder / "run.html"
    file.write_text(html, encoding="utf-8")
    page.goto(file)


def rows(page: Page) -> list[str]:
    """The texts of the rows that can be seen."""
    texts: list[str] = page.evaluate(
        "[...document.querySelectorAll('.row')].map(row => row.innerText.replaceAll('\\n', ' '))"
    )
    return texts


@pytest.mark.parametrize(("width", "dark"), [(1100, False), (375, True)])
def test_hostile_text_is_only_text(page: Page, tmp_path: Path, width: int, *, dark: bool) -> None:
    run = samples.hostile()
    page.set_width(width, 740, dark=dark)
    graph: Any = {"policy": samples.HOSTILE, "nodes": [{"label": samples.HOSTILE, "answers": True, "wrong": False}]}
    graph |= {
        "edges": [[0, 0, samples.HOSTILE]],
        "path": [0],
        "trail": [0],
        "complete": True,
        "assumed": [samples.HOSTILE],
    }
    show(page, tmp_path, page_of([run], {"graph": graph}, title=samples.HOSTILE))
    page.evaluate("window.alert = text => { throw new Error(`alert ${text}`); }, 1")
    elements = page.evaluate("document.querySelectorAll('*').length")
    for _ in range(6):
        page.press("ArrowDown")
        assert (
            page.evaluate("document.querySelectorAll('#detail script, #list script, #detail a, #detail iframe').length")
            == 0
        )
        sources = page.evaluate("[...document.querySelectorAll('img')].map(image => image.src.slice(0, 11))")
        assert set(sources) <= {"data:image/"}
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        detail = "document.querySelector('#detail')"
        assert page.evaluate(f"{detail}.scrollWidth <= {detail}.clientWidth")
    shown = page.text("#detail")
    assert "<script>alert(1)</script>" in page.text("#title") + shown
    assert "\\u202e" in page.text("#title")
    assert not set("\u202e\x1b\x00\u200b") & set(page.text("body"))
    page.click("#policy")
    assert "<script>" in page.text("#graph-text")
    page.click("#close")
    assert page.evaluate("document.querySelectorAll('*').length") < elements + 400


def test_a_run_is_read_with_the_keyboard(page: Page, tmp_path: Path) -> None:
    agent, result = samples.travel()
    show(page, tmp_path, result.to_html(agent))
    assert [row.split()[0] for row in rows(page)[:4]] == ["System", "User", "Step", "ok"]
    assert page.evaluate("document.activeElement.id") == "list"
    for _ in range(4):
        page.press("ArrowDown")
    assert page.text("#detail h2") == "Step 2"
    selected = "document.getElementById(document.querySelector('#list').getAttribute('aria-activedescendant'))"
    assert "Step 2" in page.evaluate(f"{selected}.innerText")
    detail = page.text("#detail")
    assert "prerequisite('book', 'get_weather')" in detail
    assert "The weather decides" not in detail  # it is folded
    page.click("#detail summary")
    assert "The weather decides" in page.text("#detail")
    page.press("Escape")
    page.press("n")
    assert "there is no weather station" in page.text("#detail")
    page.press("n")
    assert "Denied by" in page.text("#detail") or "refused" in page.text("#detail")
    page.press("Home")
    page.press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    page.press("/")
    page.type("lutetia")
    page.wait_for("document.querySelector('#count').textContent.includes(' of ')")
    assert all("Lutetia" in row or "Step" in row or "User" in row for row in rows(page))
    assert page.evaluate("document.querySelectorAll('mark').length") > 0
    assert "12345678901234567890" in page.text("#detail")  # JavaScript's own numbers would end in other digits


def test_rows_are_sifted_and_sub_agents_folded(page: Page, tmp_path: Path) -> None:
    agent, result = samples.travel()
    show(page, tmp_path, result.to_html(agent))
    whole = len(rows(page))
    page.click("#fold")
    assert len(rows(page)) == whole - 4
    assert page.evaluate("document.querySelector('#fold').getAttribute('aria-pressed')") == "true"
    page.evaluate(
        "(() => { const f = document.querySelector('#filter'); f.value = 'odd'; f.dispatchEvent(new Event('change')); })()"
    )
    assert [row.split()[0] for row in rows(page)] == ["error", "refused"]


def test_the_way_through_the_policy_is_drawn(page: Page, tmp_path: Path) -> None:
    agent, result = samples.travel()
    show(page, tmp_path, result.to_html(agent))
    page.click("#policy")
    assert page.evaluate("document.querySelector('dialog').open")
    path = page.evaluate("[...document.querySelectorAll('#graph-path li')].map(item => item.textContent)")
    assert path[0] == "find_hotels without book"
    assert len(path) == 4
    drawn: Any = graph_of(agent, result.messages, result.start)["nodes"]
    assert page.evaluate("document.querySelectorAll('.node').length") == len(drawn)
    assert page.evaluate("document.querySelectorAll('.edge.on').length") >= 3
    page.press("Escape")
    assert not page.evaluate("document.querySelector('dialog').open")


def test_two_runs_stand_side_by_side(page: Page, tmp_path: Path) -> None:
    one, other = [run_of([UserMessage("go"), AssistantMessage(text)], title=text) for text in ("Rome", "Paris")]
    show(page, tmp_path, page_of([one, other], {"differences": differences(one, other)}, title="two"))
    assert [row[0] for row in rows(page)] == ["U", "≠"]
    page.press("n")
    assert (
        page.evaluate("[...document.querySelectorAll('.differs summary')].map(part => part.innerText)") == ["Text"] * 2
    )
    assert page.evaluate(
        "[...document.querySelectorAll('.two > div')].map(side => side.querySelector('pre').innerText)"
    ) == ["Rome", "Paris"]


def test_ten_thousand_steps_open_at_once(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, page_of([samples.long()]))
    assert page.text("#count") == "20,001 rows"
    assert 0 < page.seconds() < OPENS_WITHIN
    assert len(rows(page)) < 60
    page.press("End")
    assert "city 9999" in rows(page)[-1]
    page.press("/")
    page.type("hit 7777")
    page.wait_for("document.querySelectorAll('.row').length < 3")
    assert "7777" in page.text("#detail")


@contextmanager
def followed(live: LivePage) -> Generator[None]:
    with live.server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_a_live_page_follows(page: Page) -> None:
    messages: list[Any] = [UserMessage("go")]

    async def load() -> Any:
        return [run_of(messages)], {}

    live = LivePage(load, "a run")
    with followed(live):
        page.goto(live.url)
        page.wait_for("document.querySelectorAll('.row').length === 1")
        messages.append(AssistantMessage("It rains."))
        page.wait_for("document.querySelectorAll('.row').length === 2")
        assert "following" in page.text("#facts")
        page.goto("about:blank")


@pytest.mark.parametrize(("width", "dark"), [(1100, False), (375, True)])
def test_a_served_agent_is_followed(page: Page, width: int, *, dark: bool) -> None:
    page.set_width(width, dark=dark)
    model = samples.Gated(called(("get_photo", {"city": "Rome"})), AssistantMessage("It rains."))
    app = ChatServer(Agent(model, tools=[samples.get_photo], name="guide"), show_runs=True)
    with served(app) as url, ServedRuns(url, None) as runs:
        live = LivePage(runs.load, url)
        with followed(live):
            page.goto(live.url)
            httpx.post(url + COMPLETIONS, json={**asking("Rome?"), "model": "guide"})
            page.wait_for("document.querySelectorAll('.row').length === 5")
            assert [row.split()[0] for row in rows(page)] == ["answer", "User", "Step", "ok", "Step"]
            assert "guide, some-model: Rome?" in rows(page)[0]
            model.pause_after(0)
            asked = threading.Thread(
                target=httpx.post,
                args=(url + COMPLETIONS,),
                kwargs={"json": {**asking("<b>Oslo</b>?"), "model": "guide"}, "timeout": 60},
            )
            asked.start()
            page.wait_for("document.querySelectorAll('.row').length === 8")
            assert rows(page)[5].startswith("running guide, some-model: <b>Oslo</b>?")
            assert "(the model works on it)" in rows(page)[7]
            assert page.text("#facts").startswith("Runs")
            page.press("ArrowUp")  # what is selected stays so
            model.gate.set()
            asked.join()
            page.wait_for("document.querySelectorAll('.row')[5].innerText.startsWith('answer')")
            assert page.text("#detail h2") == "User"
            page.click("#fold")
            assert [row.split()[0] for row in rows(page)] == ["answer", "answer"]
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.goto("about:blank")
