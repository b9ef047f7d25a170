"""Secrets: texts that do not show, and errors from which they are taken out."""

from collections.abc import Iterable
from os.path import commonprefix
from typing import NoReturn
from urllib.parse import quote

from agentkit.core.errors import ModelError
from agentkit.core.json import decode, encode, object_of
from agentkit.core.messages import ToolCall

NOT_PICKLED = "a client holds a key and is not pickled; make another where it is needed"
_SHORTEST = 6
_TELLING = 12
_CUT = "'\";"  # what follows on a text that was cut, if anything does


class Secret(str):
    """A text that does not show, and is not stored."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(NOT_PICKLED)


class Secrets:
    """What an endpoint is sent and nobody else may see.

    Args:
        known: The secrets; those of less than 6 characters are left out, for any text may have them by chance.
    """

    __slots__ = ("_known",)

    def __init__(self, known: Iterable[str]) -> None:
        written = {way for each in known if len(each) >= _SHORTEST for way in _written(str(each))}
        self._known = sorted(map(Secret, written), key=len, reverse=True)

    def shown(self, text: str) -> str:
        """Give a text without secrets, also without one that was cut where the text was."""
        for secret in self._known:
            begin, rest = secret[:_TELLING], secret[_TELLING:]
            text, *others = text.split(begin)
            for each in others:
                same = len(commonprefix([each, rest]))  # noqa: RUF071 (texts, not paths)
                found = same == len(rest) or each[same : same + 1] in _CUT
                text += f"…{each[same:]}" if found else begin + each
        return text

    def taken_from(self, error: ModelError) -> ModelError:
        """Take them out of an error, with all that leads to frames which hold them: some endpoints say a key back."""
        error.__traceback__ = error.__context__ = error.__cause__ = None
        if self._known:
            error.args = tuple([self.shown(each) if isinstance(each, str) else each for each in error.args])
            for name, value in vars(error).items():
                if isinstance(value, str):
                    setattr(error, name, self.shown(value))
            error.calls = tuple(map(self._shown_call, error.calls))
        return error

    def _shown_call(self, call: ToolCall) -> ToolCall:
        name, arguments = self.shown(call.name), self.shown(call.arguments)
        extra = object_of(decode(self.shown(encode(call.extra).decode())))
        return ToolCall(self.shown(call.id), name, arguments, extra)


def _written(secret: str) -> set[str]:
    """Give a secret in the ways that addresses, JSON and Python write it."""
    addresses = {quote(secret), quote(secret, safe="")}
    return {secret, *addresses, encode(secret).decode()[1:-1], secret.replace("/", "\\/"), repr(secret)[1:-1]}
