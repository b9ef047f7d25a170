"""A model that does what it may: it calls every tool, and then answers."""

import json

from agentkit.core.chat import ChatRequest, ChatResponse
from agentkit.core.json import object_of
from agentkit.core.messages import AssistantMessage, UserMessage
from agentkit.core.model import OnChunk
from agentkit.runs.output import FINAL_ANSWER
from agentkit.testing.models import FunctionModel
from agentkit.testing.replies import Said, answer, calling
from agentkit.testing.schema_samples import sample


class EveryTool:
    """A model that calls every tool once, with values made from its schema, and then answers.

    It shows that an agent holds together: that each tool can be called as its schema says, and what the policy makes of
    it. It obeys the tool choice: where it must call and every tool was called, it calls one again; where it may not, it
    answers. An answer that is to be JSON is made from its schema too.

    Args:
        text: What it answers, where that is a text.

    Attributes:
        name: The model's name.
    """

    name = "every-tool"

    def __init__(self, text: str = "done") -> None:
        self._text = text
        self._model = FunctionModel(self._reply)

    def __repr__(self) -> str:
        return f"EveryTool({self._text!r})"

    @property
    def requests(self) -> list[ChatRequest]:
        """What it was asked, in order."""
        return self._model.requests

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Call the next tool, or answer; see `Model.complete`."""
        return await self._model.complete(request, on_chunk)

    def _reply(self, request: ChatRequest) -> Said:
        # What hands the answer in comes last.
        tools = {each.name: each for each in sorted(request.tools, key=lambda each: each.name == FINAL_ANSWER)}
        choice = request.tool_choice
        if choice.mode == "none" or not tools:
            return self._answer(request)
        made = _called(request)
        name = next((each for each in tools if each not in made), None)
        if choice.mode == "tool":
            name = choice.tool
        elif choice.mode == "required" and name is None:
            name = next(iter(tools))
        return self._answer(request) if name not in tools else calling((name, sample(tools[name].parameters)))

    def _answer(self, request: ChatRequest) -> Said:
        schema = object_of(object_of((request.response_format or {}).get("json_schema")).get("schema"))
        return answer(json.dumps(sample(schema)) if schema else self._text)


def _called(request: ChatRequest) -> set[str]:
    """Name the tools that were called since the user last spoke."""
    names: set[str] = set()
    for message in request.messages:
        if isinstance(message, UserMessage) and not message.note:
            names = set()
        elif isinstance(message, AssistantMessage):
            names |= {call.name for call in message.tool_calls}
    return names
