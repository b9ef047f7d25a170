"""Take the pictures in the pages: `python -m tests.screenshots` writes them to `docs/images`."""

import tempfile
from pathlib import Path

from agentkit import AssistantMessage
from agentkit.runs.timeline import recorded_run
from agentkit.viewer import differences, page_of
from tests.browser import Page, browser
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


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browser() as page:
        viewer(page, Path(folder))


if __name__ == "__main__":
    main()
