"""Check the pages with axe-core: `python -m tests.accessibility`. It ends with 1 if there is a serious finding.

axe-core comes from npm, into a temporary folder, and runs in Chromium. So it is no part of the suite.
"""

import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

from agentkit.viewer import differences, page_of
from tests.browser import Page, browser
from tests.server import test_page_in_browser as chat
from tests.server.served import KEY, served
from tests.viewer import samples

Views: TypeAlias = dict[str, tuple[str | Path, Callable[[Page], object]]]
SERIOUS = ("serious", "critical")
WIDTHS = (1100, 375)
HEIGHT = 4000
"""All is in the window: what is scrolled out of it has no contrast that could be measured."""


def axe(folder: Path) -> str:
    """Return the script of axe-core."""
    npm = shutil.which("npm") or "npm"
    subprocess.run([npm, "install", "--silent", "--no-audit", "--prefix", folder, "axe-core@4"], check=True)  # noqa: S603
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


def findings(page: Page, script: str) -> list[str]:
    """Return what axe finds in the page as it is."""
    page.send("Runtime.evaluate", expression=script)
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(result => result.violations)")
    return [
        f"{finding['impact']}: {finding['id']}: {finding['help']}: {node['html'][:120]}"
        for finding in found
        for node in finding["nodes"][:3]
    ]


def views(folder: Path) -> Views:
    """Return the views of the viewer: the file of each, and what is done there first."""
    agent, result = samples.travel()
    run, hostile = folder / "run.html", folder / "hostile.html"
    run.write_text(result.to_html(agent), encoding="utf-8")
    hostile.write_text(page_of([samples.hostile()]), encoding="utf-8")
    two = folder / "two.html"
    pair = [samples.hostile(), samples.long(20)]
    two.write_text(page_of(pair, {"differences": differences(*pair)}), encoding="utf-8")

    served_runs = folder / "served.html"
    items = [{**samples.hostile(), "kind": "run"}, {**samples.long(20), "kind": "run"}]
    served_runs.write_text(page_of([{"items": items}]), encoding="utf-8")

    def read(page: Page) -> None:
        for _ in range(4):
            page.press("ArrowDown")

    return {
        "run": (run, read),
        "problem": (run, lambda page: page.press("n")),
        "policy": (run, lambda page: page.click("#policy")),
        "hostile": (hostile, read),
        "compared": (two, read),
        "served": (served_runs, read),
    }


def _asked(text: str, awaited: str) -> Callable[[Page], object]:
    """Return what asks the agent on the page, waits for an element, and opens what is folded."""

    def act(page: Page) -> None:
        page.wait_for("document.querySelector('#model').value")
        chat.ask(page, text)
        chat.shown(page, awaited)
        page.evaluate("document.querySelectorAll('#log details').forEach(part => { part.open = true; })")

    return act


def _rules(page: Page) -> None:
    page.wait_for("document.querySelector('#model').value")
    page.evaluate("document.querySelector('#model').value = 'other'")
    page.click("#policy")
    page.wait_for("document.querySelector('#drawing img')?.naturalWidth > 50")


def _chats(page: Page) -> None:
    page.wait_for("document.querySelector('#chats .title') !== null")
    if page.evaluate("document.querySelector('#chats').checkVisibility()"):
        return
    page.click("#list")


def served_views(url: str, guarded: str) -> Views:
    """Return the views of the page that a server has: of one that anyone may ask, and of one with keys."""
    return {
        "chat": (url, lambda page: page.wait_for("document.querySelector('#model').value")),
        "answer": (url, _asked("hostile", ".turn.agent:not([aria-busy=true]) .text table")),
        "approval": (url, _asked("pay", ".question")),
        "fault": (url, _asked("break", "[role=alert]")),
        "chats": (url, _chats),
        "rules": (url, _rules),
        "key": (guarded, lambda page: page.wait_for("document.querySelector('[role=alert]') !== null")),
    }


def main() -> int:
    """Check every page at two widths, light and dark."""
    logging.disable()  # of the server, which an agent fails on purpose
    serious = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(served(chat.app(folder)))
        guarded = stack.enter_context(served(chat.app(folder, keys=KEY)))
        page = stack.enter_context(browser())
        script = axe(folder)
        for title, (address, act) in {**views(folder), **served_views(url, guarded)}.items():
            for width in WIDTHS:
                for dark in (False, True):
                    page.goto("data:text/html,")
                    page.set_width(width, HEIGHT, dark=dark)
                    page.goto(address)
                    act(page)
                    found = findings(page, script)
                    serious += sum(finding.startswith(SERIOUS) for finding in found)
                    print(f"{title} {width} {'dark' if dark else 'light'}: {len(found)} findings")  # noqa: T201
                    for finding in found:
                        print(f"  {finding}")  # noqa: T201
        page.goto("data:text/html,")
    return min(serious, 1)


if __name__ == "__main__":
    sys.exit(main())
