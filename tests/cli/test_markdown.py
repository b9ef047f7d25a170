import io

import pyte
import pytest
from pyte import modes
from rich.console import Console

from agentkit.cli.markdown import MarkdownView, rendered

CODE = "\n".join([f"x{number} = 1" for number in range(30)])
ANSWER = f"""# Title

Some **bold** text of `list<int>` and <b>markup</b>
on a second line, [a link](http://example.org).

```python
{CODE}
```

1. one
2. two

| a | b |
|---|---|
| 1 | 2 |

The end."""


def lines_of(text: str) -> list[str]:
    screen = pyte.HistoryScreen(60, 12, history=1000)
    screen.set_mode(modes.LNM)
    pyte.Stream(screen).feed(text)
    rows = [*screen.history.top, *[screen.buffer[row] for row in range(12)]]
    return ["".join([row[column].data for column in range(60)]).rstrip() for row in rows]


@pytest.fixture
def console() -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, color_system=None, width=60, height=12, legacy_windows=False
    )


@pytest.mark.parametrize("size", [1, 7, len(ANSWER)])
def test_an_answer_stands_there_once_however_it_arrives(size: int, console: Console) -> None:
    view = MarkdownView(console)
    for start in range(0, len(ANSWER), size):
        view.feed(ANSWER[start : start + size])
        if start % 70 == 0:
            for live in console._live_stack:  # what its thread does, ten times a second
                live.refresh()
    view.finish()
    view.finish()
    assert isinstance(console.file, io.StringIO)
    every = lines_of(console.file.getvalue())
    assert "\n\n\n" not in "\n".join(every).strip()
    lines = [line.strip() for line in every if line]
    assert lines[:3] == [
        "Title",
        "Some bold text of list<int> and <b>markup</b>",
        "on a second line, a link (http://example.org).",
    ]
    assert [line for line in lines if line.startswith("x")] == CODE.splitlines()
    assert lines[-6:] == ["1 one", "2 two", "a  b", "────", "1  2", "The end."]


def test_blanks_are_no_answer_and_lines_have_none_at_their_ends(console: Console) -> None:
    view = MarkdownView(console)
    view.feed("\n")
    view.feed("\n \n")
    view.finish()
    assert isinstance(console.file, io.StringIO)
    assert "".join(lines_of(console.file.getvalue())) == ""
    console.print(rendered("[a]: http://example.org"))
    console.print(rendered("one\ntwo\n\n- three"))
    assert console.file.getvalue().endswith("one\ntwo\n\n • three\n")
