"""Takes the pictures of the page for docs/serving.md, in Chromium: `python -m tests.page_pictures`."""

import asyncio
import tempfile
from pathlib import Path

from agentkit import Agent, AssistantMessage, ChatChunk, ChatRequest, ChatResponse, Sqlite, ToolCall, tool
from agentkit.core.chat import Choice
from agentkit.core.messages import ToolMessage, Usage, UserMessage
from agentkit.core.model import OnChunk
from agentkit.server import ChatServer
from agentkit.tool_choice import prerequisite
from tests.browser import Page, browser
from tests.server.served import served

FOLDER = Path(__file__).parent.parent / "docs/images"
EARLIER = ("Where is order 1038?", "How long is the warranty?", "Send me last month's invoices")
QUESTION = "The kettle of order 1042 arrived broken. Please refund it."
ORDER: dict[str, object] = {"order": 1042, "customer": "Ann Lee", "items": ["kettle", "teapot"], "paid": 74.5}
FOUND = """Order **1042** was delivered three days ago, so a refund is possible:

| Item | Price | Refund |
|---|--:|--:|
| Kettle | 42.00 € | **42.00 €** |
| Teapot | 32.50 € | none |

I will refund the kettle."""
DONE = "Ann Lee gets **42.00 €** back, in three to five days. The teapot stays as it is."


class Clerk:
    """Finds the order, pays the refund, and answers."""

    name = "clerk"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        results = [message for message in request.messages if isinstance(message, ToolMessage)]
        find = AssistantMessage(
            None, (ToolCall("c1", "find_order", '{"number":1042}'),), extra={"reasoning": "First the order."}
        )
        pay = AssistantMessage(FOUND, (ToolCall("c2", "pay_refund", '{"order":1042,"item":"kettle","amount":42.0}'),))
        message = [find, pay, AssistantMessage(DONE)][min(2, len(results))]
        if on_chunk is not None and message.content:
            on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": message.content}}]}))
        return ChatResponse((Choice(message, "tool_calls" if message.tool_calls else "stop"),), Usage(1, 9, 9))


@tool
async def find_order(number: int) -> dict[str, object]:
    """Look up an order."""
    await asyncio.sleep(0.4)
    return ORDER


@tool(approval=True)
async def pay_refund(order: int, item: str, amount: float) -> str:
    """Pay a refund."""
    return f"paid {amount:.2f} € for the {item} of order {order}"


async def keep_earlier(store: Sqlite) -> None:
    for number, question in enumerate(reversed(EARLIER)):
        await store.conversation(f"shop.earlier-{number}").append([UserMessage(question), AssistantMessage("…")])


def ask(page: Page) -> None:
    page.evaluate("document.querySelector('#text').focus()")
    page.type(QUESTION)
    page.press("Enter")
    page.wait_for("document.querySelector('.question') !== null")


def take(page: Page, url: str) -> None:
    page.set_width(1100, 860)
    page.goto(url)
    page.wait_for("document.querySelectorAll('#chats li').length === 3")
    ask(page)
    page.evaluate("document.activeElement.blur(); document.querySelector('#scroller').scrollTop = 1e6")
    page.screenshot(FOLDER / "page-approval.png")
    page.click(".question .main")
    page.wait_for("document.querySelector('[aria-busy=true]') === null")
    page.set_width(390, 780, dark=True)
    page.evaluate("document.activeElement.blur(); document.querySelector('#scroller').scrollTop = 1e6")
    page.screenshot(FOLDER / "page-phone.png")
    page.set_width(1100, 620)
    page.click("#policy")
    page.wait_for("document.querySelector('#drawing img')?.naturalWidth > 50")
    page.screenshot(FOLDER / "page-policy.png")


def main() -> None:
    """Take all pictures."""
    FOLDER.mkdir(exist_ok=True)
    agent = Agent(
        Clerk(), tools=[find_order, pay_refund], tool_choice=prerequisite("pay_refund", "find_order"), name="shop"
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Sqlite(Path(folder) / "chats.db")
        asyncio.run(keep_earlier(store))
        app = ChatServer(agent, page=True, events=True, approver="client", sessions=store)
        with served(app) as url, browser() as page:
            take(page, url)
            assert page.problems == []


if __name__ == "__main__":
    main()
