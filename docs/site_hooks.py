"""What the build of the site does beside mkdocs.

- The outputs in the tutorial are what the embedded model prints. They are made again if the example has changed, or
  the files that write the model's prompts; the hash of these is in their first line. `python docs/site_hooks.py` makes
  them without a build.
- A page that fetches something from another host fails the build.
"""

import os
import re
import sys
from contextlib import chdir
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "examples/shop.py"
PROMPTS = [ROOT / f"agentkit/models/{name}.py" for name in ("local", "prompted", "described", "small", "mentions")]
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\ssrc=\"?(?:https?:)?//|<link\b[^>]*(?:stylesheet|icon|preload)"
    r"[^>]*\shref=\"?(?:https?:)?//|@import|url\(\"?(?:https?:)?//"
)


def mark(example: Path) -> str:
    """Return the line by which outputs name the source that they are of."""
    sources = b"".join([path.read_bytes() for path in (example, *PROMPTS)])
    return f"made from {sha256(sources).hexdigest()}\n"


def is_current(example: Path) -> bool:
    made = example.with_suffix(".txt")
    return made.exists() and made.read_text().startswith(mark(example))


def make(example: Path) -> None:
    """Run an example on the embedded model, and write what each section prints."""
    sys.path.insert(0, str(ROOT))
    from tests.word_runs import printed  # noqa: PLC0415 (the path is known only now)

    os.environ.pop("AGENTKIT_MODEL", None)
    with TemporaryDirectory() as folder, chdir(folder):
        output = printed(example)
    example.with_suffix(".txt").write_text(mark(example) + output)


def fetched(html: str) -> list[str]:
    """Return what a page fetches from other hosts."""
    return _FETCHED.findall(html)


def on_pre_build(config: Any) -> None:  # noqa: ARG001 (mkdocs passes it)
    if not is_current(TUTORIAL):
        make(TUTORIAL)


def on_post_build(config: Any) -> None:
    for page in Path(config.site_dir).rglob("*.html"):
        if found := fetched(page.read_text(encoding="utf-8")):
            raise SystemExit(f"{page} fetches from another host: {found}")


if __name__ == "__main__":
    make(TUTORIAL)
