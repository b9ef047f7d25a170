"""What makes the calls of very small models better: fewer tools, an example, and arguments from the conversation.

- **Fewer tools.** Of the tools that were not called yet, only the one whose words fit the question best is offered.
- **An example** of a question and a call stands before the conversation, where the next reply is a call.
- **Copied values.** In the reply's schema, a number that a tool requires is one of those that the conversation
  mentions, and a text is a run of its words. What is optional is free, for then it shows whether the model makes it up:
  it is left out if nothing in the conversation speaks for it, and if it is a text that another argument has already.
  The function's default is the better guess.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite

from agentkit.core.chat import FINAL_ANSWER, ChatRequest, ToolSpec
from agentkit.core.json import decode, encode, list_of, object_of
from agentkit.core.messages import AssistantMessage, DeveloperMessage, Message, SystemMessage, ToolCall, UserMessage
from agentkit.core.ranking import Ranking
from agentkit.models.wrapper import plain_text

_MOST_NUMBERS = 50
_LONGEST_TEXT = 1000  # characters; a grammar takes the longer, the more runs there are
_LONGEST_RUN = 12
_STEM = 5
_FREE = {"enum", "const", "format", "pattern"}  # keywords that say by themselves what a value may be
_FIRST_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_SCALES = {"thousand": 10**3, "k": 10**3, "million": 10**6, "m": 10**6, "billion": 10**9}
_UNSURE = ("k", "m")  # meters and minutes, or a scale
_PERCENT = ("%", "percent")
_CURRENCIES = ("$", "€", "£")
# A sign, digits with or without commas, a fraction, and what scales it. Digits in a word are part of a name.
_NUMBER = re.compile(
    r"((?<!\w)-)?(?<![\w.])(\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?)(?:\s?(%|(?:percent|thousand|k|million|m|billion)\b))?"
    rf"|\b({'|'.join(_FIRST_NUMBERS)})\b",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r"[,;/&\n]|\b(?:and|or)\b")
# A run of words ends where a quotation begins or ends, and at characters that JSON writes in another way.
_END_OF_RUN = re.compile(r"(?<=\s)['\u2018(\[]|['\u2019)\]](?=\s)|[\x00-\x1f\x7f\"\\]")
_WORD = re.compile(r"[^\W_](?:[^\s,;'\u2019()\[\]]*[^\W_])?")
_SPECIAL = re.compile(r"[$()*+.?\[\]^{|}]")
_PART = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])|\d+")
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


def with_example(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages with an example of a call, after the system prompt."""
    instructions = messages[:1] if messages and isinstance(messages[0], SystemMessage | DeveloperMessage) else ()
    return (*instructions, *_EXAMPLE, *messages[len(instructions) :])


def _last_question(messages: Sequence[Message]) -> int:
    return max([at for at, message in enumerate(messages) if isinstance(message, UserMessage)], default=len(messages))


@dataclass(frozen=True, slots=True)
class Mentioned:
    """What a conversation mentions: its numbers, its words, and how many things it can list."""

    numbers: tuple[float, ...]
    percents: tuple[float, ...]
    runs: tuple[tuple[tuple[str, str], ...], ...]  # of words, each with what stands before it; none of a long text
    parts: frozenset[str]
    listed: int

    @classmethod
    def by(cls, messages: Iterable[Message]) -> "Mentioned":
        """Return what messages mention."""
        text = "\n".join([plain_text(message.content or "") for message in messages])
        listed = 1 + len(_SEPARATOR.findall(text))
        runs = tuple(_runs_in(text)) if len(text) <= _LONGEST_TEXT else ()
        numbers = list(_numbers_in(text))
        plain, percents = [tuple([n for n, is_percent in numbers if is_percent is kind]) for kind in (False, True)]
        return cls(plain, percents, runs, frozenset(_parts_of(text)), listed)

    def restricted(self, tools: Sequence[ToolSpec]) -> tuple[ToolSpec, ...]:
        """Return the tools with arguments that are copied, except for the tool of a typed answer."""
        restricted = [
            tool if tool.name == FINAL_ANSWER else replace(tool, parameters=self._restrict_required(tool.parameters))
            for tool in tools
        ]
        return tuple(restricted)

    def without_guesses(self, message: AssistantMessage, tools: Sequence[ToolSpec]) -> AssistantMessage:
        """Return a reply without the optional arguments that nothing speaks for."""
        required = {tool.name: list_of(tool.parameters.get("required")) for tool in tools if tool.name != FINAL_ANSWER}

        def without(call: ToolCall) -> ToolCall:
            with suppress(ValueError, LookupError):  # cut arguments, or the tool of a typed answer
                needed, arguments = required[call.name], object_of(decode(call.arguments))
                kept = {name: value for name, value in arguments.items() if name in needed}
                for name, value in arguments.items():
                    again = isinstance(value, str) and value in kept.values()
                    if name not in needed and not again and self._speaks_for(name, value):
                        kept[name] = value
                return replace(call, arguments=encode(kept).decode())
            return call

        return replace(message, tool_calls=tuple(map(without, message.tool_calls)))

    def _speaks_for(self, name: str, value: object) -> bool:
        """Whether the text mentions a value; of true and false, whether it mentions their name."""
        match value:
            case None | bool():
                return self._mentions(name)
            case int() | float():
                return value in (*self.numbers, *self.percents, *map(_fraction, self.percents))
            case str():
                return self._mentions(value)
            case _ if items := list_of(value):
                return any(self._speaks_for(name, item) for item in items)
            case _:
                return any(self._speaks_for(*item) for item in object_of(value).items())

    def _mentions(self, text: str) -> bool:
        stems = {part[:_STEM] for part in _parts_of(text)}
        return any(part.startswith(stem) for stem in stems if len(stem) > 1 or stem.isdigit() for part in self.parts)

    def _restrict_required(self, schema: Mapping[str, object]) -> dict[str, object]:
        required = list_of(schema.get("required"))
        properties = {
            name: self._restrict(object_of(one)) if name in required else self._bounded(object_of(one))
            for name, one in object_of(schema.get("properties")).items()
        }
        return {**self._restrict({**schema, "properties": {}}), "properties": properties}

    def _bounded(self, schema: Mapping[str, object]) -> dict[str, object]:
        """Return a schema whose list ends: a small model may go on and on."""
        return dict(schema) if schema.get("type") != "array" else {"maxItems": self.listed, **schema}

    def _restrict(self, schema: Mapping[str, object]) -> dict[str, object]:
        """Return a schema whose values stand in the text."""
        restricted = dict(schema)
        for keyword in ("anyOf", "oneOf"):
            if branches := list_of(schema.get(keyword)):
                restricted[keyword] = [self._restrict(object_of(branch)) for branch in branches]
        for keyword in ("properties", "$defs"):
            if schemas := object_of(schema.get(keyword)):
                restricted[keyword] = {name: self._restrict(object_of(one)) for name, one in schemas.items()}
        if schema.keys() & _FREE or schema.keys() >= {"minimum", "maximum"}:
            return restricted
        match schema.get("type"):
            case "array" if items := object_of(schema.get("items")):
                restricted["items"] = self._restrict(items)
                numbers = len(self.numbers) + len(self.percents) if items.get("type") in ("integer", "number") else 0
                restricted = {"minItems": 1, "maxItems": numbers or self.listed, **restricted}
            case "integer":
                restricted |= _enum([int(n) for n in (*self.numbers, *self.percents) if n == int(n)])
            case "number":
                # Five percent are 0.05, unless the parameter wants percent.
                wants_percent = "percent" in str(schema.get("description")).lower()
                percents = self.percents if wants_percent else map(_fraction, self.percents)
                restricted |= _enum([*self.numbers, *percents])
            case "string" if self.runs:
                restricted["pattern"] = self._pattern()
            case _:
                pass
        return restricted

    def _pattern(self) -> str:
        """Return a pattern for each run of words."""
        choices: dict[str, None] = {}
        for run in self.runs:
            for at, (_, first) in enumerate(run):
                rest = ""
                for before, word in reversed(run[at + 1 : at + _LONGEST_RUN]):
                    between = "[ _]" if before == " " else _escaped(before)  # a name may be written as one word
                    rest = f"({between}{_escaped(word)}{rest})?"
                choices[_escaped(first) + rest] = None
        return f"^({'|'.join(choices)})$"


def _enum(numbers: Sequence[float]) -> dict[str, object]:
    known = list(dict.fromkeys(numbers))
    return {"enum": known} if 0 < len(known) <= _MOST_NUMBERS else {}


def _fraction(percent: float) -> float:
    return round(percent / 100, 12)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)


def _numbers_in(text: str) -> Iterator[tuple[float, bool]]:
    """Yield each number, and whether it is said in percent."""
    for match in _NUMBER.finditer(text):
        sign, digits, scale, word = match.groups()
        if word:
            yield _FIRST_NUMBERS.index(word.casefold()), False
            continue
        scale = (scale or "").casefold()
        in_list = "," in digits and text[max(0, match.start() - 1) : match.start()] in ("[", ",")
        for part in (digits.replace(",", ""), *(digits.split(",") if in_list else ())):
            number = float(f"{sign or ''}{part}")
            if not isfinite(number):
                continue
            number = int(f"{sign or ''}{part}") if part.isdecimal() else number
            is_money = text[max(0, match.start() - 1) : match.start()] in _CURRENCIES
            if scale not in _SCALES or (scale in _UNSURE and not is_money):
                yield number, scale in _PERCENT
            if scale in _SCALES:
                yield round(number * _SCALES[scale], 12), False


def _runs_in(text: str) -> Iterator[tuple[tuple[str, str], ...]]:
    for run in _END_OF_RUN.split(text):
        ends = [0, *[match.end() for match in _WORD.finditer(run)]]
        words = [
            (run[end : match.start()], match.group()) for end, match in zip(ends, _WORD.finditer(run), strict=False)
        ]
        if words:
            yield tuple(words)


def _parts_of(text: str) -> Iterable[str]:
    return [part.casefold() for part in _PART.findall(text)]
