"""Profiles: how the dialect of an endpoint differs from the standard.

Endpoints that speak the same protocol refuse different things in it. A profile says what one of them refuses, wants
back or knows by another name, and encodes requests so. It changes what goes over the wire and nothing else: histories,
tools and the check of arguments stay what they are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from string import ascii_letters, digits
from typing import Literal, cast
from urllib.parse import urlsplit

from agentkit.core.chat import ChatRequest, Settings, ToolSpec
from agentkit.core.errors import InvalidRequest
from agentkit.core.json import encode, object_of
from agentkit.core.messages import (
    AssistantMessage,
    Content,
    DeveloperMessage,
    Message,
    Part,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)
from agentkit.models.client.plain_schema import plain_tool

_NONE: frozenset[str] = frozenset()
_REASONING = frozenset({"reasoning_content"})
_ALPHANUMERIC = ascii_letters + digits
_MADE_ID = 9
_OPENING = "Continue."
_BRIDGE = "I have seen the results."


@dataclass(frozen=True, slots=True)
class Profile:
    """The dialect of an endpoint. The defaults are the standard; `dataclasses.replace` makes another one.

    Attributes:
        echo: Fields of `extra`, of messages and of calls, that the endpoint wants back. Only it gets them.
        demanded: Fields that each assistant message must have; where one has none, a space stands for it.
        silent: The `content` of an assistant message that only has calls.
        blank: What to send for a text that is empty or only white space; `None` sends it as it is.
        refusals: Whether `refusal` may be sent; else its text is sent as `content`.
        alternate: Whether user and assistant must take turns, after one system message at most.
        user_after_answers: Whether anything but an assistant message may follow answers; else a short one is put in.
        developer: Whether the role `developer` is known; else such a message is sent as `system`.
        names: Whether messages may have a `name`.
        answer_names: Whether an answer must have the name of its tool.
        ids: A pattern that the whole id of a call must match. One that does not is replaced, in the call and in its
            answer, by 9 letters and digits made from it; but not where fields come back that may speak of it.
        most_tools: How many tools one request may offer.
        longest_description: How many characters the description of a tool may have.
        schemas: `plain` sends the schemas of tools as `plain_schema` makes them, and never asks for `strict`.
        stream_usage: Whether a streamed request may ask for its usage.
        max_tokens: The name of the field for the most tokens to generate.
    """

    echo: frozenset[str] = frozenset({"extra_content"})
    demanded: frozenset[str] = _NONE
    silent: Literal["null", "empty", "absent"] = "null"
    blank: str | None = None
    refusals: bool = True
    alternate: bool = False
    user_after_answers: bool = True
    developer: bool = True
    names: bool = True
    answer_names: bool = False
    ids: str | None = None
    most_tools: int | None = None
    longest_description: int | None = None
    schemas: Literal["whole", "plain"] = "whole"
    stream_usage: bool = True
    max_tokens: str = "max_tokens"

    def encode(self, request: ChatRequest, model: str, origin: str, *, stream: bool) -> bytes:
        """Give the body of a request. The same request always gives the same bytes.

        Args:
            request: The request.
            model: The name of the model.
            origin: The endpoint, as `AssistantMessage.origin` names it.
            stream: Whether to ask for a stream.

        Raises:
            InvalidRequest: If the endpoint would refuse it for what cannot be said in another way.
        """
        self._check(request.tools)
        messages: Sequence[Message] = request.messages
        if self.alternate or not self.user_after_answers:
            messages = _in_turns(messages, strictly=self.alternate)
        if self._as_they_are():
            echo = self.echo
            encoded = [
                each.encoded_for(origin, echo) if type(each) is AssistantMessage and each.origin else each.encoded
                for each in messages
            ]
        else:
            encoded = self._rewritten(messages, origin)
        return request.encode(
            model,
            stream=stream,
            stream_usage=self.stream_usage,
            messages=encoded,
            tools=[plain_tool(each.encoded) for each in request.tools] if self.schemas == "plain" else None,
            settings=self._settings(request.settings),
        )

    def _check(self, tools: tuple[ToolSpec, ...]) -> None:
        if self.most_tools is not None and len(tools) > self.most_tools:
            raise InvalidRequest(
                f"{len(tools)} tools are offered and this endpoint takes {self.most_tools} at most; offer fewer, with "
                "the policy `only` or with an agent for each part of the task"
            )
        if self.longest_description is not None:
            for tool in tools:
                if len(tool.description) > self.longest_description:
                    raise InvalidRequest(
                        f"{tool.name}: the description has {len(tool.description)} characters and this endpoint takes "
                        f"{self.longest_description} at most; shorten it"
                    )

    def _settings(self, settings: Settings) -> bytes:
        if settings.max_tokens is None or self.max_tokens == "max_tokens":
            return settings.encoded
        if self.max_tokens in settings.extra:
            raise InvalidRequest(f"extra has the field {self.max_tokens!r}, which max_tokens is here; set one of them")
        # Only numbers stand before it, so this is the name of the field and not a text like it.
        return settings.encoded.replace(b'"max_tokens":', encode(self.max_tokens) + b":", 1)

    def _as_they_are(self) -> bool:
        """Tell whether no message has to be changed."""
        return (
            self.refusals
            and self.developer
            and self.names
            and self.ids is None
            and self.blank is None
            and self.silent == "null"
            and not (self.demanded or self.answer_names)
        )

    def _rewritten(self, messages: Sequence[Message], origin: str) -> list[bytes]:
        sent: dict[str, tuple[str, str]] = {}  # of each call, the id and the name that are sent
        encoded: list[bytes] = []
        for each in messages:
            if isinstance(each, AssistantMessage):
                encoded.append(self._assistant(each, origin, sent))
            elif isinstance(each, ToolMessage):
                encoded.append(self._answer(each, sent))
            elif (each.name and not self.names) or self.blank is not None or isinstance(each, DeveloperMessage):
                encoded.append(self._spoken(each))
            else:
                encoded.append(each.encoded)
        return encoded

    def _spoken(self, message: SystemMessage | DeveloperMessage | UserMessage) -> bytes:
        data = message.to_dict()
        if not self.names:
            data.pop("name", None)
        if data["role"] == "developer" and not self.developer:
            data["role"] = "system"
        if self.blank is not None:
            data["content"] = _without_blanks(message.content) or self.blank
        return encode(data)

    def _assistant(self, message: AssistantMessage, origin: str, sent: dict[str, tuple[str, str]]) -> bytes:
        fine = self._is_fine(message)
        if fine and not message.tool_calls:
            return message.encoded_for(origin, self.echo)
        own = message.origin == origin
        ids = [call.id for call in message.tool_calls]
        if self.ids is not None and not (own and self.echo & message.extra.keys()):  # which may speak of an id
            ids = [_fitting(self.ids, each) for each in ids]
        for call, id_ in zip(message.tool_calls, ids, strict=True):
            name = object_of(call.to_dict()["function"])["name"] if self.answer_names else ""
            sent[call.id] = (id_, str(name))
        if fine and ids == [call.id for call in message.tool_calls]:
            return message.encoded_for(origin, self.echo)
        data = message.to_dict(self.echo if own else _NONE)
        for said, id_ in zip(cast("list[dict[str, object]]", data.get("tool_calls", [])), ids, strict=True):
            said["id"] = id_
        if not self.names:
            data.pop("name", None)
        if message.refusal and not self.refusals:
            del data["refusal"]
            data["content"] = _joined(message.content, message.refusal)
        for field in sorted(self.demanded):
            data[field] = data.get(field) or " "
        return encode(self._heard(data))

    def _heard(self, data: dict[str, object]) -> dict[str, object]:
        """Say nothing, where a message of the assistant's says nothing, as the endpoint wants it said."""
        if self.blank is not None and not str(data["content"] or "").strip():
            data["content"] = None if "tool_calls" in data else self.blank
        if data["content"] is None and "tool_calls" in data and self.silent != "null":
            data["content"] = ""
            if self.silent == "absent":
                del data["content"]
        return data

    def _is_fine(self, message: AssistantMessage) -> bool:
        """Tell whether a message may be sent as it is, the ids of its calls aside."""
        return (
            (self.refusals or not message.refusal)
            and (self.names or not message.name)
            and (self.silent == "null" or bool(message.content) or not message.tool_calls)
            and self.blank is None
            and not self.demanded
        )

    def _answer(self, message: ToolMessage, sent: dict[str, tuple[str, str]]) -> bytes:
        id_, name = sent.get(message.tool_call_id, (message.tool_call_id, ""))
        if id_ == message.tool_call_id and not name and (self.blank is None or message.content.strip()):
            return message.encoded
        data = message.to_dict() | {"tool_call_id": id_}
        if name:
            data["name"] = name
        if self.blank is not None and not message.content.strip():
            data["content"] = self.blank
        return encode(data)


@lru_cache(maxsize=4096)
def _fitting(pattern: str, id_: str) -> str:
    """Give an id as it is if it fits, else one made from it."""
    if re.fullmatch(pattern, id_):
        return id_
    return "".join([_ALPHANUMERIC[each % len(_ALPHANUMERIC)] for each in sha256(encode(id_)).digest()[:_MADE_ID]])


def _joined(*texts: str | None) -> str:
    return "\n\n".join([text for text in texts if text])


def _without_blanks(content: Content) -> object:
    """Give a content without blocks that say nothing; nothing if all of it says nothing."""
    if isinstance(content, str):
        return content if content.strip() else None
    return [part.to_dict() for part in content if not isinstance(part, TextPart) or part.text.strip()]


def _in_turns(messages: Sequence[Message], *, strictly: bool) -> list[Message]:
    """Put an assistant message after answers; strictly, merge neighbours of a role, after one system message."""
    turns: list[Message] = []
    if strictly:
        told = [each.content for each in messages if isinstance(each, SystemMessage | DeveloperMessage)]
        turns += [SystemMessage(_joined(*told))] if told else []
        messages = [each for each in messages if not isinstance(each, SystemMessage | DeveloperMessage)]
    for each in messages:
        last = turns[-1] if turns else None
        if isinstance(last, ToolMessage) and not isinstance(each, AssistantMessage | ToolMessage):
            turns.append(AssistantMessage(_BRIDGE))
        elif strictly and isinstance(each, AssistantMessage) and not isinstance(last, UserMessage | ToolMessage):
            if last is None or isinstance(last, SystemMessage):
                turns.append(UserMessage(_OPENING))
            elif isinstance(last, AssistantMessage) and not last.tool_calls:
                turns[-1] = _one_answer(last, each)
                continue
        elif strictly and isinstance(each, UserMessage) and isinstance(last, UserMessage):
            turns[-1] = _one_question(last, each)
            continue
        turns.append(each)
    return turns


def _one_answer(first: AssistantMessage, second: AssistantMessage) -> AssistantMessage:
    said = _joined(first.content, first.refusal, second.content, second.refusal)
    return replace(second, content=said or None, refusal=None)


def _one_question(first: UserMessage, second: UserMessage) -> UserMessage:
    name = first.name if first.name == second.name else None
    if isinstance(first.content, str) and isinstance(second.content, str):
        return UserMessage(_joined(first.content, second.content), name)
    return UserMessage((*_parts(first.content), *_parts(second.content)), name)


def _parts(content: Content) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (TextPart(content),) if content else ()
    return content


STANDARD = Profile()
"""The protocol as it is written down. Any endpoint that is not known gets this."""

OPENAI = Profile(
    echo=_NONE, ids="(?s).{1,40}", most_tools=128, longest_description=1024, max_tokens="max_completion_tokens"
)
"""OpenAI, and Azure with its models.

At most 128 tools ("array too long"), descriptions of 1024 characters and ids of 40 ("string too long").
`max_completion_tokens` is known to every model, and the newer ones answer 400 to `max_tokens`.
See https://platform.openai.com/docs/api-reference/chat/create.
"""

GEMINI = Profile(refusals=False, developer=False, answer_names=True, schemas="plain", stream_usage=False)
"""Google's Gemini, at its address for this protocol and in Vertex AI.

The signature of the thoughts behind a call, in `extra_content`, must come back ("missing a thought_signature"; see
https://ai.google.dev/gemini-api/docs/thought-signatures). Tools are put into a schema language of its own
(https://ai.google.dev/api/caching#Schema): a keyword that it does not have is 400 ("Unknown name"), as is an enum that
is not of texts, an object at the top without properties, and, without a reason, a union. Answers need the name of their
tool ("function_response.name: Name cannot be empty"). Usage comes at the end of a stream unasked, and gateways to it
answer 400 to `stream_options`.
"""

DEEPSEEK = Profile(echo=_REASONING, demanded=_REASONING, refusals=False, developer=False)
"""DeepSeek.

In its thinking mode each assistant message must have its `reasoning_content` again ("must be passed back to the API"),
and one that is empty is refused as one that is missing, so a message from elsewhere gets a space
(https://api-docs.deepseek.com/guides/thinking_mode). The other mode ignores it. `developer` is an "unknown variant".
"""

MISTRAL = Profile(
    echo=_NONE,
    silent="empty",
    refusals=False,
    user_after_answers=False,
    developer=False,
    names=False,
    ids="[a-zA-Z0-9]{9}",
    stream_usage=False,
)
"""Mistral's own API.

A field that it does not know is 422 ("extra_forbidden"): `reasoning_content`, `name`, `stream_options` (usage comes
unasked). Ids "must be a-z, A-Z, 0-9, with a length of 9", null is no content for its validator, and after answers
only an assistant may speak ("Unexpected role 'user' after role 'tool'"). See https://docs.mistral.ai/api/.
"""

GROQ = Profile(echo=_NONE, refusals=False, developer=False, names=False, most_tools=128)
"""Groq.

It answers 400 to fields of messages that it does not know ("property 'reasoning_content' is unsupported") and to `name`
(https://console.groq.com/docs/openai), and takes 128 tools at most.
"""

MOONSHOT = Profile(echo=_REASONING, demanded=_REASONING, refusals=False, developer=False)
"""Moonshot's Kimi.

With thinking on, a message with calls needs its `reasoning_content` ("is missing in assistant tool call message"). Ids
such as `functions.read:0` must come back letter for letter: with others the model answers nothing. See
https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model.
"""

BEDROCK = Profile(blank="(nothing)", refusals=False, developer=False)
"""Amazon Bedrock: a text that is empty or only white space is 400 ("text content blocks must be non-empty")."""

LLAMA_CPP = Profile(silent="empty", refusals=False, alternate=True, developer=False, names=False)
"""Servers that put messages through a strict chat template, as llama.cpp and vLLM do with many models.

Such templates raise "Conversation roles must alternate user/assistant/user/assistant/...", take one system message,
the first, and may fail where a content is null. No address tells which template a server has, so this is never chosen
unasked.
"""

OPENROUTER = Profile(echo=frozenset({"reasoning_details"}), refusals=False, ids="(?s).{1,40}")
"""OpenRouter.

`reasoning_details` must come back unchanged for models that think, Gemini above all ("must be preserved"; see
https://openrouter.ai/docs/guides/best-practices/reasoning-tokens). Behind it may be OpenAI, which takes ids of 40
characters.
"""

_HOSTS = (
    (r"(.+\.)?api\.openai\.com|.+\.openai\.azure\.com", OPENAI),
    (r"generativelanguage\.googleapis\.com|(.+-)?aiplatform\.googleapis\.com", GEMINI),
    (r"api\.deepseek\.com", DEEPSEEK),
    (r"(api|codestral)\.mistral\.ai", MISTRAL),
    (r"api\.groq\.com", GROQ),
    (r"api\.moonshot\.(ai|cn)", MOONSHOT),
    (r"bedrock-runtime.*\.amazonaws\.com|bedrock-mantle\..+\.api\.aws", BEDROCK),
    (r"openrouter\.ai", OPENROUTER),
)


@lru_cache(maxsize=64)
def profile_of(base_url: str) -> Profile:
    """Give the profile of the endpoint at an address, by its host; `STANDARD` if it is not known.

    Args:
        base_url: The address up to `/chat/completions`.
    """
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:  # not an address, as whoever sends to it will say
        return STANDARD
    return next((profile for pattern, profile in _HOSTS if re.fullmatch(pattern, host)), STANDARD)
