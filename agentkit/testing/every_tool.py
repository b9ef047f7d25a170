"""A model that calls every tool once, to test that an agent's parts fit together."""

import json
from collections.abc import Mapping

from agentkit.core.chat import FINAL_ANSWER, ChatRequest, ToolSpec
from agentkit.core.json import list_of, object_of
from agentkit.core.messages import AssistantMessage, UserMessage
from agentkit.testing.models import FunctionModel
from agentkit.testing.replies import Said, answer, calling
from agentkit.testing.schema_samples import sample


class EveryTool(FunctionModel):
    """A model that calls every tool once, with sample arguments made from its schema, and then answers.

    It tests that every tool can be called as its schema says, and what the tool-choice policy does with that. The model
    obeys the tool choice: it calls a tool again if it must call one, and answers if it may not. A structured answer is
    made from its schema too.

        EveryTool(arguments={"cancel": {"number": "B1234"}})

    Args:
        text: The answer, if a text is asked for.
        arguments: For a tool's name, arguments to use in place of samples: for a `pattern` that `sample` cannot match,
            or a value that has to exist. Its other arguments are still sampled.

    Attributes:
        requests: The requests, in order.
    """

    def __init__(self, text: str = "done", *, arguments: Mapping[str, Mapping[str, object]] | None = None) -> None:
        self._text = text
        self._arguments = arguments or {}
        super().__init__(self._reply, "every-tool")

    def __repr__(self) -> str:
        return f"EveryTool({self._text!r})"

    def _reply(self, request: ChatRequest) -> Said:
        # The tool that submits the final answer comes last.
        tools = {tool.name: tool for tool in sorted(request.tools, key=lambda tool: tool.name == FINAL_ANSWER)}
        choice = request.tool_choice
        if choice.mode == "none" or not tools:
            return self._answer(request)
        called = _called_since_prompt(request)
        name = next((name for name in tools if name not in called), None)
        if choice.mode == "tool":
            name = choice.tool
        elif choice.mode == "required" and name is None:
            name = next(iter(tools))
        return self._answer(request) if name not in tools else calling((name, self._arguments_of(tools[name])))

    def _arguments_of(self, tool: ToolSpec) -> dict[str, object]:
        own, schema = self._arguments.get(tool.name, {}), tool.parameters
        properties = {name: part for name, part in object_of(schema.get("properties")).items() if name not in own}
        required = [name for name in list_of(schema.get("required")) if name not in own]
        return object_of(sample({**schema, "properties": properties, "required": required})) | dict(own)

    def _answer(self, request: ChatRequest) -> Said:
        schema = object_of(object_of((request.response_format or {}).get("json_schema")).get("schema"))
        return answer(json.dumps(sample(schema)) if schema else self._text)


def _called_since_prompt(request: ChatRequest) -> set[str]:
    names: set[str] = set()
    for message in request.messages:
        if isinstance(message, UserMessage) and not message.note:
            names = set()
        elif isinstance(message, AssistantMessage):
            names |= {call.name for call in message.tool_calls}
    return names
