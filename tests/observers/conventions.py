"""Compare the names that `Spans` emits with OpenTelemetry's newest conventions for generative AI.

    python -m tests.observers.conventions semantic-conventions-genai

The conventions moved from the package, which the tests use, to a repository of their own, which has no package. The
argument is a clone of it.
"""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

from agentkit import AssistantMessage, Settings, Step, TextDelta, ToolChoice, Usage
from agentkit.core.chat import ChatResponse, Choice
from agentkit.core.http_request import HttpRequest
from agentkit.core.messages import SystemMessage
from agentkit.runs.events import Event, RunStarted, StepFinished, StepStarted
from tests.observers.events import all_kinds, events_of, request
from tests.observers.test_otel import Watched, attributes

_SETTINGS = Settings(
    temperature=1, top_p=1, presence_penalty=1, frequency_penalty=1, max_tokens=9, stop="END", n=2, seed=1
)
_SENT = HttpRequest("https://example.com/v1", (), bytes)
_REPLY = ChatResponse((Choice(AssistantMessage("Hello"), "stop"),), id="r", model="m", sent=_SENT)


def streamed_run() -> list[Event]:
    """Return the events of a run whose request and reply have every field."""
    asked = replace(
        request("look"), messages=(SystemMessage("Be brief."),), settings=_SETTINGS, response_format={"type": "json"}
    )
    step = Step(AssistantMessage("Hello"), ToolChoice(), "auto", usage=Usage(1, 12, 5, 8), reply=_REPLY)
    started, *others = events_of(StepStarted(0, ToolChoice(), asked), TextDelta("Hello"), StepFinished(step))
    return [replace(cast("RunStarted", started), streamed=True, conversation="ann"), *others]


def emitted() -> set[str]:
    """Return the names of all attributes and metrics that are emitted."""
    watched = Watched()
    watched.observe(all_kinds() + streamed_run(), content=True)
    names = {name for span in watched.spans for name in attributes(span)}
    for metric, points in watched.metrics().items():
        names |= {metric}.union(*(point.attributes or {} for point in points))
    return names


def names_in(folder: Path) -> set[str]:
    """Return the names of attributes and metrics in a clone of the conventions."""
    texts = [path.read_text() for path in folder.glob("model/**/*.yaml")]
    return set(re.findall(r"^ *- (?:key|name): (gen_ai\.[\w.]+)", "\n".join(texts), re.MULTILINE))


if __name__ == "__main__":
    ours = {name for name in emitted() if name.startswith("gen_ai.")}
    unknown = ours - names_in(Path(sys.argv[1]))
    print(f"{len(ours)} names, {len(unknown)} of them unknown: {', '.join(sorted(unknown)) or 'none'}")  # noqa: T201
    sys.exit(bool(unknown))
