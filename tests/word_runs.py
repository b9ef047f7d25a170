"""Runs the examples of the pages on tool_choice, and writes what each prints beside it: `python -m tests.word_runs`."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from textwrap import wrap

WORDS = Path(__file__).parent.parent / "examples/words"
EXAMPLES = sorted(WORDS.glob("*.py"))
_WIDTH = 84
_SECTION = re.compile(r"^# --8<-- \[start:([\w-]+)\]\n.*?^# --8<-- \[end:\1\]$", re.MULTILINE | re.DOTALL)


def printed(example: Path) -> str:
    """Return what an example prints, by the sections that a page includes, with long lines wrapped."""
    source, names, parts, at = example.read_text(), {"__name__": example.stem}, list[str](), 0
    for section in _SECTION.finditer(source):
        output = StringIO()
        with redirect_stdout(output):
            for code in (source[at : section.start()], section[0]):
                exec(compile(code, str(example), "exec"), names)  # noqa: S102 (an example of this project)
        at = section.end()
        lines = [part for line in output.getvalue().splitlines() for part in _wrapped(line)]
        if lines:
            parts.append("\n".join([f"# --8<-- [start:{section[1]}]", *lines, f"# --8<-- [end:{section[1]}]\n"]))
    return "\n".join(parts)


def _wrapped(line: str) -> list[str]:
    margin = line[: len(line) - len(line.lstrip())]
    return wrap(line, _WIDTH, subsequent_indent=f"{margin}      ", break_on_hyphens=False) or [""]


if __name__ == "__main__":
    for example in EXAMPLES:
        example.with_suffix(".txt").write_text(printed(example))
