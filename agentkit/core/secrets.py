"""Secrets: strings that never show, and their removal from errors, because some endpoints repeat a key."""

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
_CUT = "'\";"  # what may follow a string that was cut


class Secret(str):
    """A string that has no repr and cannot be pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(NOT_PICKLED)


class Secrets:
    """The secrets of a client.

    Args:
        known: The secrets. Any with fewer than 6 characters are ignored: any text may have them by chance.
    """

    __slots__ = ("_known",)

    def __init__(self, known: Iterable[str]) -> None:
        written = {form for secret in known if len(secret) >= _SHORTEST for form in _written_forms(str(secret))}
        self._known = sorted(map(Secret, written), key=len, reverse=True)

    def shown(self, text: str) -> str:
        """Mask the secrets in a text, also one at its end that was cut."""
        for secret in self._known:
            begin, rest = secret[:_TELLING], secret[_TELLING:]
            text, *tails = text.split(begin)
            for tail in tails:
                same = len(commonprefix([tail, rest]))  # noqa: RUF071 (texts, not paths)
                is_secret = same == len(rest) or tail[same : same + 1] in _CUT
                text += f"…{tail[same:]}" if is_secret else begin + tail
        return text

    def taken_from(self, error: ModelError) -> ModelError:
        """Mask the secrets in an error, and drop its traceback and causes, whose frames hold them."""
        error.__traceback__ = error.__context__ = error.__cause__ = None
        if self._known:
            error.args = tuple([self.shown(arg) if isinstance(arg, str) else arg for arg in error.args])
            for name, value in vars(error).items():
                if isinstance(value, str):
                    setattr(error, name, self.shown(value))
            error.calls = tuple(map(self._shown_call, error.calls))
        return error

    def _shown_call(self, call: ToolCall) -> ToolCall:
        name, arguments = self.shown(call.name), self.shown(call.arguments)
        extra = object_of(decode(self.shown(encode(call.extra).decode())))
        return ToolCall(self.shown(call.id), name, arguments, extra)


def _written_forms(secret: str) -> set[str]:
    """Return a secret as addresses, JSON and Python write it."""
    addresses = {quote(secret), quote(secret, safe="")}
    return {secret, *addresses, encode(secret).decode()[1:-1], secret.replace("/", "\\/"), repr(secret)[1:-1]}
