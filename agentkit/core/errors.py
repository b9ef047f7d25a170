"""Every exception that agentkit raises of its own.

    AgentkitError
    ├── ConfigurationError        an agent, a tool or a model is set up wrongly; raised before anything is sent
    │   ├── ToolDefinitionError   a function cannot be a tool as it stands
    │   └── MissingExtra          an optional package is not installed
    ├── InvalidRequest            a message or a setting that no endpoint would take; raised before anything is sent
    ├── ModelError                a model was asked and did not answer
    │   ├── ConnectionFailed      no connection, or it broke
    │   ├── ModelTimeout          no whole answer in time
    │   ├── EndpointError         the endpoint answered with an error
    │   │   ├── AuthenticationFailed      401, 403
    │   │   ├── RequestRefused            400, 404, 413, 422 and every other 4xx
    │   │   │   └── ContextTooLong        the conversation is longer than the model takes
    │   │   ├── RateLimited               429
    │   │   ├── QuotaExceeded             402, or 429 with the code of a quota: waiting does not help
    │   │   └── EndpointUnavailable       408, 409, 5xx
    │   ├── IncompleteReply       the answer was cut before its end
    │   ├── MalformedReply        the answer is not what the protocol has
    │   ├── ReplyTooLarge         the answer is larger than the client takes
    │   ├── ContentFiltered       the endpoint's filter stopped the answer
    │   ├── AnswerInvalid         there is no answer of the type that is wanted
    │   └── ToolChoiceIgnored     the model kept breaking the tool choice
    ├── PolicyContradiction       the parts of a policy want what cannot be had together
    ├── LimitReached              a limit of the run was reached
    ├── RunCancelled              the run was stopped before its end
    ├── SessionError              a conversation could not be kept, or not be read
    ├── JournalError              the journal of a batch cannot be used
    ├── BatchFailed               inputs of a batch failed
    ├── StoredFailure             an input failed in an earlier run of its batch
    └── ToolError                 raise it in a tool: its text is what the model is told
        └── ModelRetry        raise it in a tool or an output validator: the model is asked again

An error that ends a run carries what the run had done until then in `partial`.
"""

from dataclasses import dataclass
from typing import Literal

from agentkit.core.choice import ToolChoice
from agentkit.core.http_request import HttpRequest
from agentkit.core.messages import AssistantMessage, Message, ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Partial:
    """What a run had done when it ended without an answer.

    Attributes:
        messages: The whole history. Every call in it is answered, so it can be sent or resumed as it is.
        usage: What the requests so far have cost.
    """

    messages: tuple[Message, ...]
    usage: Usage


class AgentkitError(Exception):
    """The common base: `except AgentkitError` catches whatever agentkit raises.

    Attributes:
        partial: What the run had done, if a run ended by this error.
    """

    partial: Partial | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle by what it holds: an error's class may take other arguments than its text."""
        return _remade, (type(self), self.args), self.__dict__


def _remade(cls: type[AgentkitError], args: tuple[object, ...]) -> AgentkitError:
    return cls.__new__(cls, *args)


class ConfigurationError(AgentkitError):
    """An agent, a tool or a model is set up in a way that cannot work; the text says what to change."""


class ToolDefinitionError(ConfigurationError):
    """A function cannot be a tool as it stands; the text names the function, the parameter and the way out."""


class MissingExtra(ConfigurationError):
    """An optional package is not installed; the text says what to install."""


class InvalidRequest(AgentkitError, ValueError):
    """A message or a setting that no endpoint would take. Nothing was sent."""


class ModelError(AgentkitError):
    """A model was asked and did not answer.

    Attributes:
        attempts: How many requests were sent for this answer.
        text: The text of the answer that had been received.
        calls: Its calls, as far as they had been received. None of them was run.
        sent: What was sent, if the model is one that says so: `print(error.sent.curl())` shows how to send it again.
    """

    attempts: int = 1
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    sent: HttpRequest | None = None


class ConnectionFailed(ModelError):
    """There was no connection to the endpoint, or it broke."""


class ModelTimeout(ModelError):
    """There was no whole answer in time.

    Attributes:
        seconds: The time that was allowed.
        phase: What took too long: to connect, the first data, the time between data, or the whole.
    """

    def __init__(
        self, message: str, seconds: float, phase: Literal["connect", "first_byte", "idle", "total"] = "total"
    ) -> None:
        super().__init__(message)
        self.seconds = seconds
        self.phase = phase


class EndpointError(ModelError):
    """The endpoint answered with an error.

    Attributes:
        status: The HTTP status, or `None` for an error that came inside an answer.
        code: The endpoint's own code or type for the error, if it gave one.
        body: The endpoint's own words, at most 2,000 characters.
        request_id: The endpoint's id for the request, for its support desk.
        retry_after: How many seconds the endpoint asks to wait, if it does.
        should_retry: What the endpoint says of asking again (`x-should-retry`), if it does.
    """

    def __init__(  # noqa: PLR0913 (each is a fact that someone on call wants)
        self,
        message: str,
        *,
        status: int | None,
        code: str | None = None,
        body: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after
        self.should_retry = should_retry


class AuthenticationFailed(EndpointError):
    """401 or 403: the key is missing, wrong, or not allowed to do this."""


class RequestRefused(EndpointError):
    """400, 404, 413, 422 or another 4xx: the same request would be refused again."""


class ContextTooLong(RequestRefused):
    """The conversation is longer than the model takes; keep less of it, or use a model with a longer context."""


class RateLimited(EndpointError):
    """429: too many requests for now."""


class QuotaExceeded(EndpointError):
    """402, or 429 with the code of a quota that is used up: waiting does not help, paying may."""


class EndpointUnavailable(EndpointError):
    """408, 409 or 5xx: the endpoint cannot answer now."""


class MalformedReply(ModelError):
    """The answer is not what the protocol has.

    Attributes:
        excerpt: The beginning of what was received, at most 2,000 characters.
    """

    def __init__(self, message: str, excerpt: str = "") -> None:
        super().__init__(f"{message}: {excerpt[:200]!r}" if excerpt else message)
        self.excerpt = excerpt[:2000]


class IncompleteReply(ModelError):
    """The answer was cut before its end: `text` and `calls` are what had come. No call in it was run."""

    def __init__(self, message: str, text: str = "", calls: tuple[ToolCall, ...] = ()) -> None:
        super().__init__(message)
        self.text = text
        self.calls = calls


class ReplyTooLarge(ModelError):
    """The answer is larger than the client takes. What had come was dropped.

    Attributes:
        limit: The name of the limit, a field of `ReplyLimits`.
        allowed: Its value.
    """

    def __init__(self, message: str, limit: str, allowed: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed


class ContentFiltered(ModelError):
    """The endpoint's filter stopped the answer: `text` is what had come. No call in it was run."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class AnswerInvalid(ModelError):
    """There is no answer of the type that is wanted: `text` is what the model said last."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class ToolChoiceIgnored(ModelError):
    """The model kept breaking the tool choice. No call that was not allowed was run.

    Attributes:
        reply: What it said last.
        choice: What it was allowed to do.
        policy: The policy that chose so, as code.
    """

    def __init__(self, message: str, reply: AssistantMessage, choice: ToolChoice, policy: str) -> None:
        super().__init__(message)
        self.reply = reply
        self.choice = choice
        self.policy = policy


class PolicyContradiction(AgentkitError):
    """The parts of a policy want what cannot be had together; the text names both."""


class LimitReached(AgentkitError):
    """A limit of the run was reached.

    Attributes:
        limit: The name of the limit, such as `"steps"`.
        allowed: Its value.
    """

    def __init__(self, message: str, limit: str, allowed: float) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed


class RunCancelled(AgentkitError):
    """The run was stopped before its end."""


class SessionError(AgentkitError):
    """A conversation could not be kept, or not be read; the text says why and what to do. What was kept is there."""


class JournalError(AgentkitError):
    """The journal of a batch cannot be used or written; the text says why and what to do. What was kept is there."""


class StoredFailure(AgentkitError):
    """An input failed in an earlier run, and its journal is told to keep that.

    Attributes:
        kind: The name of the error's class.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class BatchFailed(AgentkitError):
    """Inputs of a batch failed, or it stopped before its end; the text says how many, and why.

    Attributes:
        errors: What they failed by, in the order of the inputs.
    """

    def __init__(self, message: str, errors: tuple[Exception, ...]) -> None:
        super().__init__(message)
        self.errors = errors


class ToolError(AgentkitError):
    """Raise it in a tool: its text is what the model is told, also where other errors are hidden."""


class ModelRetry(ToolError):
    """Raise it in a tool or an output validator to ask the model again: its text tells the model what to change."""
