"""The page in a real browser. It is no part of the suite, for a browser cannot be installed by pip alone:

    apt-get install chromium
    uv run --with playwright python -m tests.server.browser

It ends with an error where something is not as it should be, and writes pictures where `--pictures FOLDER` says.
"""

import argparse
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio

from agentkit import Agent, AssistantMessage, ChatChunk, ChatRequest, ChatResponse, ToolCall, tool
from agentkit.core.chat import Choice
from agentkit.core.messages import ToolMessage, Usage
from agentkit.core.model import OnChunk
from agentkit.server import ChatServer
from tests.server.served import KEY, served

ANSWER = (
    "It is light rain in Paris, 18 °C, and the wind is weak.\n\nTake an umbrella for the afternoon: the forecast has "
    "showers until six. <b>Not bold</b>: what a model says is text."
)
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


class Slow:
    """A model that calls two tools, and then writes word by word."""

    name = "slow"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        asked = str(getattr(request.messages[-1], "content", ""))
        if "break" in asked:
            raise RuntimeError("the secret of the server")
        if "weather" in asked and not isinstance(request.messages[-1], ToolMessage):
            weather = ToolCall("c1", "get_weather", '{"city":"Paris","unit":"celsius"}')
            calls = (weather, ToolCall("c2", "get_warnings", '{"city":"Paris"}'))
            both = AssistantMessage("Let me look that up.", calls)
            return ChatResponse((Choice(both, "tool_calls"),), Usage(1, 9, 9))
        text = "word " * 2000 if "long" in asked else ANSWER
        for word in text.split(" "):
            await anyio.sleep(0.01)
            if on_chunk is not None:
                on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": f"{word} "}}]}))
        return ChatResponse((Choice(AssistantMessage(f"{text} "), "stop"),), Usage(1, 9, 9))


@tool
async def get_weather(city: str, unit: str) -> dict[str, object]:
    """Look up the weather."""
    await anyio.sleep(0.4)
    return {"city": city, "unit": unit, "temperature": 18.0, "sky": "light rain"}


@tool
def get_warnings(city: str) -> str:
    """Look up warnings."""
    raise ValueError(f"no warnings are known for {city}")


def check(page: Any, url: str, pictures: Path) -> None:
    """Use the page as someone would."""
    problems: list[str] = []

    def report(message: Any) -> None:
        if getattr(message, "type", "error") == "error":
            problems.append(getattr(message, "text", str(message)))

    page.on("console", report)
    page.on("pageerror", report)
    page.goto(url)
    page.get_by_role("alert").wait_for()  # there is no key yet
    assert "key" in page.get_by_role("alert").inner_text()
    assert page.evaluate("document.activeElement.id") == "key"
    page.screenshot(path=pictures / "no-key.png")
    page.get_by_label("Key").fill(KEY)
    page.keyboard.press("Tab")
    page.locator("#model option").nth(1).wait_for(state="attached")
    assert page.get_by_role("alert").count() == 0
    assert all("401" in problem for problem in problems), problems
    problems.clear()

    page.get_by_label("Message").fill("What is the weather in Paris?")
    page.keyboard.press("Enter")
    page.get_by_text("running…").first.wait_for()
    page.screenshot(path=pictures / "running.png")
    page.get_by_text("umbrella").wait_for()
    page.get_by_role("button", name="Send").wait_for()
    assert (page.locator("details").count(), page.locator("main b").count()) == (2, 0)
    assert page.evaluate("document.activeElement.id") == "text"
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert "light rain" in page.locator("details").first.inner_text()
    page.screenshot(path=pictures / "answer.png")

    check_stopping(page, pictures)
    problems[:] = [problem for problem in problems if "500" not in problem]
    page.reload()
    page.locator("#model option").nth(1).wait_for(state="attached")  # the key is kept for the session
    check_policy(page, pictures)
    problems[:] = [problem for problem in problems if "501" not in problem]  # without Graphviz
    page.get_by_label("Agent").select_option("other")
    page.get_by_role("button", name="New chat").click()
    page.get_by_text("Ask the agent something.").wait_for()
    assert problems == []


def check_policy(page: Any, pictures: Path) -> None:
    """Look at the policy of an agent."""
    page.get_by_role("button", name="Policy").click()
    dialog = page.get_by_role("dialog", name="Policy of weather")
    dialog.get_by_text("may answer").wait_for()
    page.screenshot(path=pictures / "policy.png")
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="hidden")


def check_stopping(page: Any, pictures: Path) -> None:
    """Stop an answer, and have one fail."""
    page.get_by_label("Message").fill("Something long")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("word word").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    page.get_by_role("button", name="Send").wait_for()

    page.get_by_label("Message").fill("Please break")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    assert "the server failed" in page.get_by_role("alert").inner_text()
    assert "secret" not in page.content()
    assert page.get_by_label("Message").input_value() == "Please break"
    page.screenshot(path=pictures / "fault.png")


def main() -> None:
    """Start a browser and a server, and check the page wide and narrow, light and dark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--pictures", type=Path, default=Path(tempfile.mkdtemp()))
    options = parser.parse_args()
    agent = Agent(Slow(), tools=[get_weather, get_warnings], name="weather")
    app = ChatServer({"weather": agent, "other": Agent(Slow())}, keys=[KEY], page=True, events=True)
    playwright: Any = import_module("playwright.sync_api")
    with served(app) as url, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=options.browser, args=OPTIONS)
        for name, settings in (
            ("wide", {"viewport": {"width": 1100, "height": 800}, "color_scheme": "light"}),
            ("phone", {"viewport": {"width": 375, "height": 700}, "color_scheme": "dark", "has_touch": True}),
        ):
            folder = options.pictures / name
            folder.mkdir(parents=True, exist_ok=True)
            context = browser.new_context(reduced_motion="reduce", **settings)
            page = context.new_page()
            page.set_default_timeout(10_000)
            check(page, url, folder)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            context.close()
        browser.close()
    print(f"the page works; pictures are in {options.pictures}")  # noqa: T201 (a script)


if __name__ == "__main__":
    main()
