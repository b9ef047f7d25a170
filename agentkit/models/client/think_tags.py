"""Reasoning that a model writes into its text, between `<think>` and `</think>`, as a field of its own."""

from collections import defaultdict
from collections.abc import Mapping

from agentkit.core.chat import ChatChunk
from agentkit.core.json import list_of, object_of

_OPEN, _CLOSE = "<think>", "</think>"
_FIELD = "reasoning_content"  # as the endpoints call it that separate it themselves


class _Answer:
    """The text of one answer: its beginning may be reasoning."""

    def __init__(self) -> None:
        self.held: str = ""  # what may be a part of a tag
        self._phase = "begin"

    def split(self, text: str, *, ends: bool) -> tuple[str, str]:
        """Take the next piece of text, and return what it adds to the text and to the reasoning."""
        text, reasoning = self.held + text, ""
        self.held = ""
        if self._phase == "begin":
            begin = text.lstrip()
            if begin.startswith(_OPEN):
                self._phase, text = "thinking", begin.removeprefix(_OPEN)
            elif _OPEN.startswith(begin) and not ends:
                self.held = text
                return "", ""
            else:
                self._phase = "answering"
        if self._phase == "thinking":
            reasoning, closed, text = text.partition(_CLOSE)
            if closed:
                self._phase = "after"
            elif not ends:
                at = next(at for at in range(len(reasoning) + 1) if _CLOSE.startswith(reasoning[at:]))
                reasoning, self.held = reasoning[:at], reasoning[at:]
        if self._phase == "after":
            text = text.lstrip()
            self._phase = "answering" if text else "after"
        return text, reasoning


class ThinkTags:
    """Takes the chunks of a reply, and returns them with the reasoning moved from the text to `reasoning_content`."""

    def __init__(self) -> None:
        self._answers: defaultdict[object, _Answer] = defaultdict(_Answer)

    def __call__(self, chunk: ChatChunk) -> ChatChunk:
        choices = [self._separated(object_of(choice)) for choice in list_of(chunk.data.get("choices"))]
        return ChatChunk({**chunk.data, "choices": choices}) if choices else chunk

    def rest(self) -> ChatChunk | None:
        """Return what was held back when a reply ends without a finish reason."""
        held = [(index, answer.held) for index, answer in self._answers.items() if answer.held]
        choices = [{"index": index, "delta": {"content": text}} for index, text in held]
        return ChatChunk({"choices": choices}) if choices else None

    def _separated(self, choice: Mapping[str, object]) -> dict[str, object]:
        key = "message" if choice.get("message") else "delta"
        part = object_of(choice.get(key))
        content, ends = part.get("content"), key == "message" or bool(choice.get("finish_reason"))
        if not isinstance(content, str | None) or not (content or ends):
            return dict(choice)
        text, reasoning = self._answers[choice.get("index", 0)].split(content or "", ends=ends)
        changed = {**part, "content": text or (None if content is None else "")}
        if reasoning:
            changed[_FIELD] = reasoning
        return {**choice, key: changed}
