"""The page in Chromium, wide and narrow, with what hostile models and tools say."""

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentkit import Agent, AssistantMessage, ChatChunk, ChatRequest, ChatResponse, ImagePart, Sqlite, ToolCall, tool
from agentkit.core.chat import Choice
from agentkit.core.messages import Usage, UserMessage
from agentkit.core.model import OnChunk
from agentkit.server import ChatServer
from agentkit.tool_choice import sequence
from tests.browser import Page, browser
from tests.server.served import KEY, served

pytestmark = pytest.mark.browser

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
HOSTILE = f"""# Heading <script>window.hacked = 1</script>

<img src=x onerror="window.hacked = 2"> **bold** and `code <b>`
[safe](https://example.com/a) [bad](javascript:window.hacked=3) [worse](data:text/html,<script>hacked=4</script>)
![spy](https://spy.example/pixel.png) ![dot]({PIXEL}) {"huge" * 900}

שלום עולם \u202eevil\u202c

| a | b |
|---|--:|
| <iframe src="//evil"> | 2 |

- one
  - two

> quoted

```html
<script>window.hacked = 5</script>
{"wide " * 60}
never closed"""
OUTPUT = f"<script>window.hacked = 6</script>\u202e{'x' * 3000}"


class Model:
    """Plays what the question names."""

    name = "model"

    def __init__(self) -> None:
        self.stalled = False  # it stalls at every other time

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        asked = [message for message in request.messages if isinstance(message, UserMessage) and not message.note]
        question = asked[-1].content
        word = question if isinstance(question, str) else "images"
        calls = {"hostile": ("look", '{"where":"<b>\\u202e here"}'), "pay": ("pay", '{"amount":12345678901234567890}')}
        if word in calls and asked[-1] is request.messages[-1]:
            name, arguments = calls[word]
            message = AssistantMessage(
                "Let me see.", (ToolCall("c1", name, arguments),), extra={"reasoning": "<i>Hm.</i>"}
            )
            return ChatResponse((Choice(message, "tool_calls"),), Usage(1, 9, 9))
        if word == "break":
            raise RuntimeError("the secret of the server")
        texts = {
            "hostile": HOSTILE,
            "stall": f"Now {'go on' if self.stalled else 'stop'}.",
            "images": f"I saw {len(question) - 1} image.",
        }
        text = texts.get(word, "Fine.")
        for at in range(0, len(text), 50):
            if on_chunk is not None:
                on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": text[at : at + 50]}}]}))
        if word == "stall":
            self.stalled = not self.stalled
            if self.stalled:
                await anyio.sleep_forever()
        return ChatResponse((Choice(AssistantMessage(text), "stop"),), Usage(1, 9, 9))


@tool
def look(where: str) -> list[str | ImagePart]:
    """Look."""
    return [OUTPUT, ImagePart(PIXEL), ImagePart("https://spy.example/tool.png")]


@tool(approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def app(tmp_path: Path, **options: Any) -> ChatServer:
    agent = Agent(Model(), tools=[look, pay], name="bot")
    other = Agent(Model(), tools=[look, pay], tool_choice=sequence("look", "pay"))
    given: dict[str, Any] = {
        "page": True,
        "events": True,
        "approver": "client",
        "sessions": Sqlite(tmp_path / "chats.db"),
    }
    return ChatServer({"bot": agent, "other": other}, **(given | options))


@pytest.fixture(scope="module")
def page() -> Generator[Page]:
    with browser() as opened:
        yield opened


@contextmanager
def opened(page: Page, server: ChatServer, width: int = 1280) -> Generator[str]:
    """Serve the page, and open it; it ends without a problem in the browser."""
    page.set_width(width)
    with served(server) as url:
        page.goto(url)
        page.wait_for("document.querySelector('#model').value")
        page.problems.clear()
        yield url
        assert page.problems == []
        page.goto("data:text/html,")


def ask(page: Page, text: str) -> None:
    page.evaluate("document.querySelector('#text').focus()")
    page.type(text)
    page.press("Enter")


def shown(page: Page, selector: str) -> None:
    page.wait_for(f"document.querySelector({selector!r}) !== null")


def done(page: Page) -> None:
    page.wait_for("!document.querySelector('#send').hidden && !document.querySelector('[aria-busy=true]')")


def count(page: Page, selector: str) -> int:
    return int(page.evaluate(f"document.querySelectorAll({selector!r}).length"))


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_texts_stay_texts(page: Page, tmp_path: Path, width: int) -> None:
    with opened(page, app(tmp_path), width):
        ask(page, "hostile")
        done(page)
        assert page.evaluate("window.hacked") is None
        assert "\\u202eevil" in page.text("#log")
        assert count(page, "#log script, #log iframe, #log b, #log i") == 0
        links = "[...document.querySelectorAll('#log a')].map(a => new URL(a.href).protocol + a.rel)"
        assert set(page.evaluate(links)) == {"https:noopener noreferrer nofollow"}
        sources = "[...document.querySelectorAll('#log img')].map(i => i.src.slice(0, 11) + i.naturalWidth)"
        page.wait_for("[...document.querySelectorAll('#log img')].every(i => i.complete)")
        assert page.evaluate(sources) == ["data:image/1", "data:image/1"]
        for tag in ("h2", "strong", "table", "li li", "blockquote", "pre code"):
            assert count(page, f".text {tag}") == 1, tag
        page.click(".card summary")
        assert "\\u202e here" in page.text(".card pre")
        assert "\\u202exxx" in page.text(".card pre:last-of-type")
        assert page.evaluate("document.querySelector('.card').dataset.state") == "ok"
        page.click(".reasoning summary")
        assert "<i>Hm.</i>" in page.text(".reasoning")
        assert fits(page)


@pytest.mark.parametrize(("width", "button", "state"), [(1280, ".main", "ok"), (390, ".deny", "refused")])
def test_a_call_waits_for_its_approval(page: Page, tmp_path: Path, width: int, button: str, state: str) -> None:
    with opened(page, app(tmp_path), width):
        ask(page, "pay")
        shown(page, ".question")
        assert "12345678901234567890" in page.text(".card pre")
        assert page.text(".state") == "needs your approval"
        assert "needs your approval" in page.evaluate("document.querySelector('#status').textContent")
        assert page.evaluate("document.activeElement.id") == "text"  # Enter approves nothing by mistake
        if state == "refused":
            page.click(".question input")
            page.type("too much")
        page.click(f".question {button}")
        done(page)
        assert page.evaluate("document.querySelector('.card').dataset.state") == state
        assert count(page, ".question") == 0
        assert ("too much" if state == "refused" else "paid 12345678901234567890") in page.evaluate(
            "document.querySelector('.card').textContent"
        )
        assert fits(page)


def test_a_sub_agents_call_has_a_card_of_its_own(page: Page, tmp_path: Path) -> None:
    """Also if it has the id of the call around it: nobody approves one call for another."""
    events = [
        {"event": "tool_started", "id": "c", "name": "bank", "arguments": "{}"},
        {"event": "approval_needed", "id": "c", "name": "pay", "arguments": '{"a":1}', "approval": "x", "nested": True},
        {"event": "tool_finished", "id": "c", "name": "bank", "outcome": "ok", "content": "", "seconds": 1},
    ]
    with opened(page, app(tmp_path)):
        page.evaluate(
            "import('/web/turns.js').then(({AgentTurn}) => { const turn = new AgentTurn();"
            f"for (const event of {json.dumps(events)}) turn.event(event); }})"
        )
        states = (
            "[...document.querySelectorAll('.card')].map(c => c.dataset.state + c.querySelector('code').textContent)"
        )
        assert page.evaluate(states) == ["okbank", "waitingpay"]
        page.click(".question .main")  # nothing waits there: it can be tried again
        shown(page, ".question .fault")
        assert page.evaluate("document.querySelector('.question .main').disabled") is False
        page.problems.clear()


def test_conversations_are_listed_opened_and_deleted(page: Page, tmp_path: Path) -> None:
    with opened(page, app(tmp_path)) as url:
        ask(page, "first")
        done(page)
        page.wait_for("document.querySelectorAll('#chats .title').length === 1")
        page.click("#fresh")
        ask(page, "pay")
        shown(page, ".question")
        page.press("Escape")  # stops
        done(page)
        page.wait_for("document.querySelectorAll('#chats .title').length === 2")
        address = page.evaluate("location.href")
        page.goto("data:text/html,")
        page.goto(address)
        page.wait_for("document.querySelector('.offer')?.textContent === 'Continue'")
        assert page.evaluate("document.querySelector('.card').dataset.state") == "cancelled"
        page.click(".offer")  # the call waits again
        shown(page, ".question")
        page.click(".question .main")
        done(page)
        assert "Fine." in page.text("#log")
        page.click("#chats li:last-child .title")
        page.wait_for("document.querySelector('.turn.user').textContent.includes('first')")
        assert count(page, ".turn") == 2
        shown(page, "#chats li:last-child [aria-current]")
        page.click("#chats li:last-child .delete")
        page.wait_for("document.querySelector('#chats li:last-child .delete').textContent === 'Delete?'")
        page.click("#chats li:last-child .delete")
        page.wait_for("document.querySelectorAll('#chats .title').length === 1")
        assert "Ask the agent something." in page.text("#log")
        assert page.evaluate("location.href").rstrip("/") == url


@pytest.mark.parametrize("hash_", ["#%", "#bot/../../../healthz", "#bot/none"])
def test_a_wrong_address_opens_nothing(page: Page, tmp_path: Path, hash_: str) -> None:
    page.set_width(390)
    with served(app(tmp_path)) as url:
        page.goto(f"{url}/{hash_}")
        page.wait_for("!!document.querySelector('#model').value")
        ask(page, "first")
        done(page)
        assert "Fine." in page.text("#log")
        page.goto("data:text/html,")
        page.problems.clear()


def test_stop_and_try_again(page: Page, tmp_path: Path) -> None:
    with opened(page, app(tmp_path, sessions=None)):
        ask(page, "stall")
        shown(page, ".text")
        page.click("#stop")
        done(page)
        assert "Stopped." in page.text(".note")
        page.click(".offer")
        page.wait_for("document.querySelector('.text')?.textContent.includes('go on')")
        done(page)
        assert count(page, ".turn.agent") == 1
        ask(page, "break")
        shown(page, "[role=alert]")
        assert "the server failed" in page.text("[role=alert]")
        assert "secret" not in page.text()
        assert [problem for problem in page.problems if "500" not in problem] == []
        page.problems.clear()


def test_nothing_is_asked_twice_where_the_server_keeps_it(page: Page, tmp_path: Path) -> None:
    with opened(page, app(tmp_path)):
        for turns in (1, 2):
            ask(page, "stall")
            shown(page, "[aria-busy=true] .text")
            page.press("Escape")
            done(page)
            page.click(".offer")
            page.wait_for(f"document.querySelector('#log').textContent.split('go on').length === {turns + 1}")
            done(page)
        kept = page.evaluate("fetch('v1/models/bot/conversations/' + location.hash.split('/')[1]).then(r => r.json())")
        assert [message["role"] for message in kept["messages"]] == ["user", "assistant"] * 2
        page.click(".offer")  # of a complete answer: it is asked for again
        page.wait_for("document.querySelectorAll('.turn.user').length === 3")
        page.press("Escape")
        done(page)


def test_images_go_with_a_question(page: Page, tmp_path: Path) -> None:
    with opened(page, app(tmp_path), 390):
        page.evaluate(
            f"(() => {{ const bytes = Uint8Array.from(atob({PIXEL.partition(',')[2]!r}), c => c.charCodeAt(0));"
            "const data = new DataTransfer(); data.items.add(new File([bytes], 'a.png', {type: 'image/png'}));"
            "data.items.add(new File(['x'], 'a.txt', {type: 'text/plain'}));"
            "document.dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}));})()"
        )
        shown(page, "#images img")
        ask(page, "What is it?")
        done(page)
        assert count(page, ".turn.user img") == 1
        assert "I saw 1 image." in page.text("#log")
        assert count(page, "#images img") == 0


def test_the_policy_is_drawn(page: Page, tmp_path: Path) -> None:
    with opened(page, app(tmp_path), 390):
        page.evaluate("document.querySelector('#model').value = 'other'")
        page.click("#policy")
        page.wait_for("document.querySelector('#drawing img')?.naturalWidth > 50")
        assert "sequence('look', 'pay')" in page.text("#code")
        assert "may answer" in page.text("#states")
        assert fits(page)
        page.press("Escape")
        page.wait_for("!document.querySelector('#rules').open")


def test_a_server_with_keys_asks_for_one(page: Page, tmp_path: Path) -> None:
    page.set_width(390)
    with served(app(tmp_path, keys=KEY)) as url:
        page.goto(url)
        page.wait_for("document.querySelector('[role=alert]')?.textContent.includes('needs a key')")
        assert page.evaluate("document.activeElement.id") == "key"
        page.type(KEY)
        page.press("Tab")
        page.wait_for("document.querySelector('#model').value === 'bot'")
        assert count(page, "[role=alert]") == 0
        page.problems.clear()
        page.goto(url)  # it is kept for the session
        page.wait_for("document.querySelector('#model').value === 'bot'")
        assert page.problems == []
        page.goto("data:text/html,")


def test_the_keyboard_reaches_everything_in_order(page: Page, tmp_path: Path) -> None:
    with opened(page, app(tmp_path)):
        ask(page, "pay")
        shown(page, ".question")
        page.evaluate("document.querySelector('#list').hidden || document.querySelector('#fresh').focus()")
        page.evaluate("document.querySelector('#fresh').focus()")
        order: list[str] = []
        for _ in range(14):
            order.append(page.evaluate("(e => e.id || e.textContent || e.placeholder)(document.activeElement)"))
            page.press("Tab")
        wanted = ["fresh", "policy", "model", "Approve", "Deny", "Reason, if you deny", "attach", "text", "stop"]
        places = [order.index(name) for name in wanted]
        assert places == sorted(places), order
        page.evaluate("document.querySelector('#text').focus()")
        page.type("one")
        page.press("Enter", 8)
        page.type("two")
        assert page.evaluate("document.querySelector('#text').value") == "one\ntwo"
        page.press("Escape")
        done(page)


PIECES = (
    *("**", "*", "_", "`", "```", "~~~", "~~", "[", "](", ")", "!", "<b>", "<script>", "|", "|---|", "- ", "1. ", "> "),
    *("# ", "\n", "\n\n", "  ", "\\", "word", "https://a.example/x", "javascript:alert(1)", "data:text/html,x", PIXEL),
)
FUZZ = """import('/web/markdown.js').then(({show}) => {
    const pieces = %s, wrong = [];
    let seed = %d;
    const next = (most) => (seed = (seed * 48271) %% 2147483647) %% most;
    const tags = "P H2 H3 H4 H5 H6 UL OL LI PRE CODE BLOCKQUOTE HR DIV TABLE THEAD TBODY TR TH TD A SPAN IMG STRONG EM DEL";
    for (let round = 0; round < 400; round++) {
        const parts = Array.from({length: 1 + next(25)}, () => pieces[next(pieces.length)]);
        const grown = document.createElement("div"), whole = document.createElement("div");
        parts.forEach((_, at) => show(grown, parts.slice(0, at + 1).join("")));
        show(whole, parts.join(""));
        const elements = [...whole.querySelectorAll("*")];
        if (!grown.isEqualNode(whole)) wrong.push(["grown", parts.join("")]);
        if (elements.some((e) => !tags.split(" ").includes(e.tagName))) wrong.push(["tag", parts.join("")]);
        if (elements.some((e) => e.href && !/^https:/.test(e.href))) wrong.push(["link", parts.join("")]);
        if (elements.some((e) => e.src && !/^data:image/.test(e.src))) wrong.push(["image", parts.join("")]);
    }
    return wrong;
})"""


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_a_model_writes_is_shown_safely_and_grows_to_the_same(page: Page, tmp_path: Path, seed: int) -> None:
    with opened(page, app(tmp_path)):
        assert page.evaluate(FUZZ % (json.dumps(PIECES), seed)) == []


def test_a_long_answer_is_shown_quickly(page: Page, tmp_path: Path) -> None:
    with opened(page, app(tmp_path)):
        begin = time.process_time()
        spent = page.evaluate(
            "import('/web/markdown.js').then(({show}) => { const e = document.createElement('div'), at = performance.now();"
            "show(e, '[a]('.repeat(2500)); show(e, '- a\\n'.repeat(2000)); show(e, '*a **b '.repeat(1000));"
            "return performance.now() - at; })"
        )
        assert spent < 10_000
        assert time.process_time() - begin < 10
