"""Check the pages with axe-core: `python -m tests.accessibility`. It ends with 1 if there is a serious finding.

axe-core comes from npm, into a temporary folder, and runs in Chromium. So it is no part of the suite.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentkit.viewer import differences, page_of
from tests.browser import Page, browser
from tests.viewer import samples

SERIOUS = ("serious", "critical")
WIDTHS = (1100, 375)


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


def views(folder: Path) -> dict[str, tuple[Path, Callable[[Page], object]]]:
    """Return the pages: the file of each, and what is done there first."""
    agent, result = samples.travel()
    run, hostile = folder / "run.html", folder / "hostile.html"
    run.write_text(result.to_html(agent), encoding="utf-8")
    hostile.write_text(page_of([samples.hostile()]), encoding="utf-8")
    two = folder / "two.html"
    pair = [samples.hostile(), samples.long(20)]
    two.write_text(page_of(pair, {"differences": differences(*pair)}), encoding="utf-8")

    def read(page: Page) -> None:
        for _ in range(4):
            page.press("ArrowDown")

    return {
        "run": (run, read),
        "problem": (run, lambda page: page.press("n")),
        "policy": (run, lambda page: page.click("#policy")),
        "hostile": (hostile, read),
        "compared": (two, read),
    }


def main() -> int:
    """Check every page at two widths, light and dark."""
    serious = 0
    with tempfile.TemporaryDirectory() as name, browser() as page:
        folder = Path(name)
        script = axe(folder)
        for title, (file, act) in views(folder).items():
            for width in WIDTHS:
                for dark in (False, True):
                    page.set_width(width, dark=dark)
                    page.goto(file)
                    act(page)
                    found = findings(page, script)
                    serious += sum(finding.startswith(SERIOUS) for finding in found)
                    print(f"{title} {width} {'dark' if dark else 'light'}: {len(found)} findings")  # noqa: T201
                    for finding in found:
                        print(f"  {finding}")  # noqa: T201
    return min(serious, 1)


if __name__ == "__main__":
    sys.exit(main())
