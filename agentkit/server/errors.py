"""What a client is told where there is no answer, in the shape that endpoints have for it."""

import logging
from collections.abc import Mapping
from math import ceil
from secrets import token_hex

from agentkit.core.errors import ContextTooLong, LimitReached, ModelError, ModelTimeout, RateLimited
from agentkit.core.json import encode

_log = logging.getLogger("agentkit.server")
_KINDS: Mapping[int, str] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_WAIT = 5
_NOT_AGAIN = {"x-should-retry": "false"}
_SERVER = 500


class Refusal(Exception):
    """A request that is not answered.

    Args:
        status: The HTTP status.
        message: What is wrong, for people.
        param: The field that it is about.
        code: The same for programs.
        headers: Headers that go with it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        """The error as endpoints say it."""
        kind = _KINDS.get(self.status, "server_error" if self.status >= _SERVER else "invalid_request_error")
        return encode({"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}})


def unfit(param: str, message: str, code: str | None = None) -> Refusal:
    """Give the refusal of a request for one of its fields."""
    return Refusal(400, message, param=param, code=code)


def refusal_of(error: BaseException, *, acted: bool) -> Refusal:
    """Say what a client is told of the error that ended a run: nothing of what is behind the server.

    Args:
        error: The error. The log gets the whole of it, under the id that the client is told.
        acted: Whether tools had run. Then the client is asked not to try again by itself: they would run twice.
    """
    incident = token_hex(6)
    headers = dict(_NOT_AGAIN) if acted else {}
    told = f"(incident {incident})"
    match error:
        case ContextTooLong():
            code = "context_length_exceeded"
            refusal = Refusal(400, f"the conversation is too long for the model {told}", param="messages", code=code)
        case RateLimited():
            wait = _WAIT if error.retry_after is None else error.retry_after
            headers["retry-after"] = str(max(1, ceil(wait)))
            refusal = Refusal(429, f"the model's endpoint asks to wait {told}", code="upstream_busy")
        case ModelTimeout():
            refusal = Refusal(504, f"the model did not answer in time {told}", code="upstream_timeout")
        case ModelError():
            refusal = Refusal(502, f"the model did not give an answer {told}", code="upstream_error")
        case LimitReached():
            headers |= _NOT_AGAIN
            said = f"the run reached its limit: {error.limit}, {error.allowed:g} {told}"
            refusal = Refusal(504 if error.limit == "seconds" else 500, said, code="limit_reached")
        case _:
            refusal = Refusal(500, f"the server failed {told}", code="internal_error")
    refusal.headers |= headers
    _log.error("incident %s: %s", incident, type(error).__name__, exc_info=error)
    return refusal
