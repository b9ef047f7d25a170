"""What makes the calls of very small models better: fewer tools, an example, and arguments from the conversation.

- **Fewer tools.** Of the tools that were not called yet, only the one whose words fit the question best is offered.
- **An example** of a question and a call stands before the conversation, where the next reply is a call.
- **Copied values.** In the reply's schema, a number that a tool requires is one of those that the conversation
  mentions, and a text is a run of its words. A number belongs to the parameter that is named beside it.
- **Named values.** An optional number, choice or flag that the question names is required. Any other is free, for then
  it shows whether the model makes it up: it is left out if nothing in the conversation speaks for it, or if another
  argument has it already. The function's default is the better guess.
- **Another text.** If a call has a required text twice, the later one becomes another name, if there is one.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from operator import ge, gt, le, lt

from agentkit.core.chat import FINAL_ANSWER, ChatRequest, ToolSpec
from agentkit.core.json import decode, encode, list_of, object_of
from agentkit.core.messages import AssistantMessage, DeveloperMessage, Message, SystemMessage, ToolCall, UserMessage
from agentkit.core.ranking import Ranking
from agentkit.core.usage import count_of
from agentkit.models.mentions import (
    Number,
    Run,
    fraction,
    is_name,
    may_begin,
    mentions,
    names,
    numbers_in,
    parts_of,
    runs_in,
    stems_of,
    without,
)
from agentkit.models.wrapper import plain_text

_MOST_NUMBERS = 50
_LONGEST_TEXT = 1000  # characters; a grammar takes the longer, the more runs there are
_LONGEST_RUN = 12
_ENOUGH_WORDS = 2
_FREE = {"enum", "const", "format", "pattern"}
_SIZES = {"minItems", "maxItems", "minLength", "maxLength"}
_BOUNDS = {"minimum": ge, "maximum": le, "exclusiveMinimum": gt, "exclusiveMaximum": lt}
_QUOTED = re.compile(r"['\"\u2018\u201c]([^'\"\u2018\u2019\u201c\u201d]+)['\"\u2019\u201d]")
_SEPARATOR = re.compile(r"[,;/&\n]|\b(?:and|or)\b")
_SPECIAL = re.compile(r"[$()*+.?\[\]^{|}]")
_NEGATION = re.compile(
    r"\b(?:no|not|without|never|except|exclud\w+|off|stop|disable\w*|cancel\w*)\b|n['\u2019]t\b", re.IGNORECASE
)
_THANKS = re.compile(r"\bthank", re.IGNORECASE)
_EXAMPLE = (
    UserMessage("How many km are 3,500 miles?"),
    AssistantMessage(tool_calls=(ToolCall("", "convert", '{"amount":3500,"from":"miles","to":"km"}'),)),
)


def narrowed(request: ChatRequest) -> ChatRequest:
    """Return the request with the tools that were called since the question, and the one that fits it best."""
    at = _last_question(request.messages)
    calls = [call for m in request.messages[at:] if isinstance(m, AssistantMessage) for call in m.tool_calls]
    kept = {FINAL_ANSWER, request.tool_choice.tool, *[call.name for call in calls]}
    others = {tool.name: f"{tool.name} {tool.description}" for tool in request.tools if tool.name not in kept}
    question = request.messages[at] if at < len(request.messages) else UserMessage("")
    scores = Ranking(others).scores(plain_text(question.content or ""))
    best = max(scores.values(), default=0.0)
    kept.update([name for name in others if scores.get(name, 0.0) == best])
    return replace(request, tools=tuple([tool for tool in request.tools if tool.name in kept]))


def asks_for_call(request: ChatRequest) -> bool:
    """Whether a question was just asked that shares two words with a tool: that is hardly small talk."""
    at = _last_question(request.messages)
    if at != len(request.messages) - 1:
        return False
    question = plain_text(request.messages[at].content or "")
    if _THANKS.search(question):
        return False
    asked = stems_of(question)
    tools = [tool for tool in request.tools if tool.name != FINAL_ANSWER]
    return any(len(asked & stems_of(f"{tool.name} {tool.description}")) >= _ENOUGH_WORDS for tool in tools)


def with_example(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages with an example of a call, after the system prompt."""
    instructions = messages[:1] if messages and isinstance(messages[0], SystemMessage | DeveloperMessage) else ()
    return (*instructions, *_EXAMPLE, *messages[len(instructions) :])


def _last_question(messages: Sequence[Message]) -> int:
    return max([at for at, message in enumerate(messages) if isinstance(message, UserMessage)], default=len(messages))


@dataclass(frozen=True, slots=True)
class Mentioned:
    """What a conversation mentions: its numbers, its words, and how many things it can list."""

    numbers: tuple[Number, ...]
    asked: tuple[Number, ...]  # those of the question, if nothing was called for it yet
    named: frozenset[str]  # the words of this question, unless one such as `not` is among them
    runs: tuple[Run, ...]  # none of a long text
    pattern: str  # of a part of a run
    parts: frozenset[str]
    listed: int

    @classmethod
    def by(cls, messages: Sequence[Message]) -> "Mentioned":
        """Return what messages mention."""
        texts = [plain_text(message.content or "") for message in messages]
        text = "\n".join(texts)
        listed = 1 + len(_SEPARATOR.findall(text))
        runs = tuple(runs_in(text)) if len(text) <= _LONGEST_TEXT else ()
        question = texts[-1] if _last_question(messages) == len(messages) - 1 else ""
        named = frozenset[str]() if _NEGATION.search(question) else frozenset(parts_of(question))
        parts = frozenset(parts_of(text))
        numbers, asked, pattern = tuple(numbers_in(text)), tuple(numbers_in(question)), _pattern(runs, may_begin)
        return cls(numbers, asked, named, runs, pattern, parts, listed)

    def restricted(self, tools: Sequence[ToolSpec]) -> tuple[ToolSpec, ...]:
        """Return the tools with arguments that are copied, except for the tool of a typed answer."""
        restricted = [
            tool if tool.name == FINAL_ANSWER else replace(tool, parameters=self._restrict_arguments(tool.parameters))
            for tool in tools
        ]
        return tuple(restricted)

    def without_guesses(self, message: AssistantMessage, tools: Sequence[ToolSpec]) -> AssistantMessage:
        """Return a reply without the arguments that nothing speaks for, and that these tools do not require."""
        required = {tool.name: list_of(tool.parameters.get("required")) for tool in tools if tool.name != FINAL_ANSWER}

        def without(call: ToolCall) -> ToolCall:
            with suppress(ValueError, LookupError):  # cut arguments, or the tool of a typed answer
                needed, arguments = required[call.name], object_of(decode(call.arguments))
                kept = {name: value for name, value in arguments.items() if name in needed}
                for name, value in arguments.items():
                    if name not in needed and not self._is_used(value, kept.values()) and self._speaks_for(name, value):
                        kept[name] = value
                return replace(call, arguments=encode(kept).decode())
            return call

        return replace(message, tool_calls=tuple(map(without, message.tool_calls)))

    def _is_used(self, value: object, arguments: Iterable[object]) -> bool:
        """Whether other arguments have a text or a number as often as it is mentioned."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return False
        if isinstance(value, str):
            times = max(1, sum([_text_of(run).count(_spaced(value)) for run in self.runs]))
        else:
            times = sum([number.means(value) for number in self.numbers])
        return sum([other == value and not isinstance(other, bool) for other in arguments]) >= times

    def _speaks_for(self, name: str, value: object) -> bool:
        """Whether the text mentions a value; of true and false, whether it mentions their name."""
        match value:
            case None | bool():
                return self._mentions(name)
            case int() | float():
                return any(number.means(value) for number in self.numbers)
            case str():
                return self._mentions(value)
            case _ if items := list_of(value):
                return any(self._speaks_for(name, item) for item in items)
            case _:
                return any(self._speaks_for(*item) for item in object_of(value).items())

    def _mentions(self, text: str) -> bool:
        return mentions(self.parts, text)

    def _restrict_arguments(self, schema: Mapping[str, object]) -> dict[str, object]:
        schemas = {name: object_of(one) for name, one in object_of(schema.get("properties")).items()}
        required = list(list_of(schema.get("required")))
        numbers = self._numbers_for(schemas, required)
        properties: dict[str, object] = {}
        for name, one in schemas.items():
            copied = self._restrict(one, numbers.get(name, ()))
            if named := self._named(name, one, is_required=name in required):
                properties[name] = named
            elif name in required or (name in numbers and "enum" in copied):
                properties[name] = copied
            else:
                properties[name] = self._bounded(one)
                continue
            required += [name] if name not in required else []
        restricted = {**self._restrict({**schema, "properties": {}}), "properties": properties}
        return {**restricted, "required": required} if required else restricted

    def _numbers_for(
        self, schemas: Mapping[str, Mapping[str, object]], required: Sequence[object]
    ) -> dict[str, list[Number]]:
        """Return the numbers for each parameter that is a number, as far as the question tells.

        A number belongs to the one required parameter of whose name a word stands beside it, or to the optional one of
        whose name all words do; or else to the required one of whose description a word does. If as many are left as
        required parameters, they have the same order. Once a tool was called, its result may tell better.
        """
        numeric = [
            name for name, one in schemas.items() if one.get("type") in ("integer", "number") and not _says_enough(one)
        ]
        names = {name: stems_of(name) for name in numeric}
        texts = {name: stems_of(str(schemas[name].get("description", ""))) for name in numeric if name in required}
        found, left = dict[str, list[Number]](), list(self.asked)
        for words in (names, texts):
            known, rest = {*found}, list[Number]()
            for number in left:
                fitting = [name for name, stems in words.items() if name not in known and stems & number.beside]
                fitting = [name for name in fitting if name in required] or [
                    name for name in fitting if words[name] <= number.beside
                ]
                if len(fitting) == 1:
                    found.setdefault(fitting[0], []).append(number)
                else:
                    rest.append(number)
            left = rest
        others = [name for name in numeric if name in required and name not in found]
        if len(left) > len(others):
            left = [number for number in left if not number.is_word]
        if len(left) != len(others):
            earlier = self.numbers[: len(self.numbers) - len(self.asked)]
            return found | {name: [*left, *earlier] for name in others}
        return found | {name: [number] for name, number in zip(others, left, strict=True)}

    def repeated(self, message: AssistantMessage, tools: Sequence[ToolSpec]) -> ToolSpec | None:
        """Return the tool of a call for another try, if a required text of the call is one that it has already.

        All arguments are fixed but the repeated ones, which become another name that the conversation has.
        """
        known = {tool.name: tool for tool in tools if tool.name != FINAL_ANSWER}
        for call in message.tool_calls:
            with suppress(ValueError, LookupError):  # cut arguments, or the tool of a typed answer
                return self._again(object_of(decode(call.arguments)), known[call.name])
        return None

    def _again(self, arguments: Mapping[str, object], tool: ToolSpec) -> ToolSpec | None:
        schemas = object_of(tool.parameters.get("properties"))
        fixed: dict[str, object] = {}
        free: dict[str, object] = {}
        for name, value in arguments.items():
            schema = object_of(schemas.get(name))
            is_copied = isinstance(value, str) and schema.get("type") == "string" and not _says_enough(schema)
            is_repeated = is_copied and self._is_used(value, fixed.values())
            pattern = _pattern(without(self.runs, str(value)), is_name) if is_repeated else ""
            if pattern:
                free[name] = {**schema, "pattern": pattern}
            else:
                fixed[name] = value
        properties = {name: free.get(name, {"const": fixed.get(name)}) for name in arguments}
        parameters = {**tool.parameters, "properties": properties, "required": [*properties]}
        return replace(tool, parameters=parameters) if free else None

    def _named(self, name: str, schema: Mapping[str, object], *, is_required: bool) -> dict[str, object] | None:
        """Return the schema of a parameter with the choices that the question names; `None` if it names none."""
        kind, items = schema.get("type"), object_of(schema.get("items"))
        choices = list_of(items.get("enum") if kind == "array" else schema.get("enum"))
        if kind == "string" and not is_required and not _says_enough(schema):
            quoted = _QUOTED.findall(str(schema.get("description")))
            choices = list(quoted) if len(quoted) > 1 else []  # one alone is an example
        named: list[object] = [choice for choice in choices if isinstance(choice, str) and names(self.named, choice)]
        if kind == "boolean" and not is_required and names(self.named, name):
            named = [True]
        if not named or schema.keys() & _SIZES:
            return None
        return {**schema, "enum": [named] if kind == "array" else named}

    def _bounded(self, schema: Mapping[str, object], most: int = 0) -> dict[str, object]:
        """Return a schema whose list ends: a small model may go on and on."""
        least = count_of(schema.get("minItems")) or 0
        return (
            dict(schema) if schema.get("type") != "array" else {"maxItems": max(most or self.listed, least), **schema}
        )

    def _restrict(self, schema: Mapping[str, object], beside: Sequence[Number] = ()) -> dict[str, object]:
        """Return a schema whose values stand in the text; numbers are those beside which something fits, if any."""
        restricted, numbers = dict(schema), beside or self.numbers
        for keyword in ("anyOf", "oneOf"):
            if branches := list_of(schema.get(keyword)):
                restricted[keyword] = [self._restrict(object_of(branch)) for branch in branches]
        for keyword in ("properties", "$defs"):
            if schemas := object_of(schema.get(keyword)):
                restricted[keyword] = {name: self._restrict(object_of(one)) for name, one in schemas.items()}
        if _says_enough(schema):
            return restricted
        match schema.get("type"):
            case "array" if items := object_of(schema.get("items")):
                restricted["items"] = self._restrict(items)
                most = len(numbers) if items.get("type") in ("integer", "number") else 0
                restricted = {"minItems": 1, **self._bounded(restricted, most)}
            case "integer":
                restricted |= _enum([int(value) for n in numbers for value in n.values if value == int(value)], schema)
            case "number":
                # Five percent are 0.05, unless the parameter wants percent.
                wants_percent = "percent" in str(schema.get("description")).lower()
                kinds = [(n.is_percent and not wants_percent, n.values) for n in numbers]
                known = [fraction(n) if is_share else n for is_share, values in kinds for n in values]
                restricted |= _enum(known, schema)
            case "string" if self.pattern:
                restricted["pattern"] = self.pattern
            case _:
                pass
        return restricted


def _pattern(runs: Iterable[Run], is_first: Callable[[Run, int], bool]) -> str:
    """Return a pattern for each part of a run that begins with such a word; none if there is no such word."""
    choices: dict[str, None] = {}
    for run in runs:
        for at in filter(partial(is_first, run), range(len(run))):
            rest = ""
            for before, word in reversed(run[at + 1 : at + _LONGEST_RUN]):
                between = "[ _]" if before == " " else _escaped(before)  # a name may be written as one word
                rest = f"({between}{_escaped(word)}{rest})?"
            choices[_escaped(run[at][1]) + rest] = None
    return f"^({'|'.join(choices)})$" if choices else ""


def _enum(numbers: Sequence[float], schema: Mapping[str, object]) -> dict[str, object]:
    """Return the numbers that a schema allows, unless these are none or too many."""
    known = [number for number in dict.fromkeys(numbers) if _is_within(number, schema)]
    return {"enum": known} if 0 < len(known) <= _MOST_NUMBERS else {}


def _is_within(number: float, schema: Mapping[str, object]) -> bool:
    return all(
        holds(number, bound)
        for keyword, holds in _BOUNDS.items()
        if isinstance(bound := schema.get(keyword), int | float)
    )


def _says_enough(schema: Mapping[str, object]) -> bool:
    """Whether a schema says by itself what a value may be."""
    has_range = any("inimum" in keyword for keyword in schema) and any("aximum" in keyword for keyword in schema)
    return bool(schema.keys() & _FREE) or has_range


def _text_of(run: Run) -> str:
    return _spaced("".join([between + word for between, word in run]))


def _spaced(text: str) -> str:
    return text.replace("_", " ")


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)
