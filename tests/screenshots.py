"""Take the pictures in the pages: `python -m tests.screenshots` writes them to `docs/images`."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from agentkit import Agent, AssistantMessage
from agentkit.cli.live_page import LivePage
from agentkit.cli.served_runs import ServedRuns
from agentkit.runs.timeline import recorded_run
from agentkit.server import ChatServer
from agentkit.viewer import differences, page_of
from tests.browser import Page, browser
from tests.scripted import called
from tests.server.served import COMPLETIONS, asking, served
from tests.viewer import samples

IMAGES = Path(__file__).parent.parent / "docs/images"


def viewer(page: Page, folder: Path) -> None:
    """A run, its policy, a phone in the dark, and two runs compared."""
    agent, result = samples.travel()
    file = folder / "run.html"
    file.write_text(result.to_html(agent), encoding="utf-8")
    page.set_width(1100, 760)
    page.goto(file)
    for _ in range(4):
        page.press("ArrowDown")
    page.screenshot(IMAGES / "viewer-run.png")
    page.click("#policy")
    page.screenshot(IMAGES / "viewer-policy.png")
    page.set_width(390, 760, dark=True)
    page.goto(file)
    page.press("n")
    page.screenshot(IMAGES / "viewer-phone.png")
    other = (*result.messages[:-1], AssistantMessage("I could not book a room, for there is none left."))
    one, two = (
        recorded_run(messages, result.steps, result.events, result.start, title=title)
        for messages, title in ((result.messages, "monday.json"), (other, "tuesday.json"))
    )
    file.write_text(page_of([one, two], {"differences": differences(one, two)}, title="Two runs"), encoding="utf-8")
    page.set_width(1100, 760)
    page.goto(file)
    page.press("n")
    page.press("End")
    page.screenshot(IMAGES / "viewer-compared.png")


def served_runs(page: Page) -> None:
    """Two runs of a served agent: one that ended, and one that works on a call."""
    model = samples.Gated(
        called(("get_weather", {"city": "Rome"}), ("get_photo", {"city": "Rome"})),
        AssistantMessage("It rains in Rome, so take an umbrella."),
        called(("find_hotels", {"city": "Oslo", "most": 2}), ("get_weather", {"city": "Oslo"})),
        AssistantMessage("The Lutetia has a room."),
    )
    tools = [samples.get_weather, samples.get_photo, samples.find_hotels]
    app = ChatServer(Agent(model, tools=tools, name="guide", instructions="You plan trips."), show_runs=True)
    with served(app) as url, ServedRuns(url, None) as runs:
        live = LivePage(runs.load, "http://127.0.0.1:8000")
        with live.server() as server, ThreadPoolExecutor() as pool:
            pool.submit(server.serve_forever, 0.01)
            httpx.post(url + COMPLETIONS, json={**asking("How is the weather in Rome?"), "model": "guide"})
            page.set_width(1100, 560)
            page.goto(live.url)
            page.wait_for("document.querySelectorAll('.row').length === 7")
            model.pause_after(1)
            asked = pool.submit(httpx.post, url + COMPLETIONS, json={**asking("A hotel in Oslo?"), "model": "guide"})
            page.wait_for("document.querySelector('#rows').innerText.includes('the model works on it')")
            page.screenshot(IMAGES / "viewer-served.png")
            page.goto("about:blank")
            model.gate.set()
            asked.result()
            server.shutdown()


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browser() as page:
        viewer(page, Path(folder))
        served_runs(page)


if __name__ == "__main__":
    main()
