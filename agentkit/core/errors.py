"""Every exception class of agentkit.

    AgentkitError
    ├── ConfigurationError        an agent, a tool or a model is set up wrongly; raised before anything is sent
    │   ├── ToolDefinitionError   a function cannot be a tool as it is
    │   └── MissingExtra          an optional package is not installed
    ├── InvalidRequest            a message or a setting that no endpoint accepts; raised before anything is sent
    ├── ModelError                a model did not answer a request
    │   ├── ConnectionFailed      no connection, or it broke
    │   ├── ModelTimeout          no whole reply in time
    │   ├── EndpointError         the endpoint answered with an error
    │   │   ├── AuthenticationFailed      401, 403
    │   │   ├── RequestRefused            400, 404, 413, 422 and every other 4xx
    │   │   │   └── ContextTooLong        the conversation exceeds the model's context window
    │   │   ├── RateLimited               429
    │   │   ├── QuotaExceeded             402, or 429 with the code of a quota: waiting does not help
    │   │   └── EndpointUnavailable       408, 409, 5xx
    │   ├── IncompleteReply       the reply was cut
    │   ├── MalformedReply        the reply breaks the protocol
    │   ├── ReplyTooLarge         the reply is larger than the client accepts
    │   ├── ContentFiltered       the endpoint's filter stopped the answer
    │   ├── AnswerInvalid         no answer has the output type
    │   └── ToolChoiceIgnored     the model kept breaking the tool choice
    ├── PolicyContradiction       parts of a policy contradict each other
    ├── PolicyError               a function that was given to a policy raised
    ├── StepFailed                a tool kept failing that the policy asks for, or that may not be retried
    ├── LimitReached              the run reached a limit
    ├── RunCancelled              the run was cancelled
    ├── SessionError              a conversation could not be stored or read
    │   └── SessionBusy           another run continues it
    ├── JournalError              the journal of a batch cannot be used
    ├── BatchFailed               inputs of a batch failed
    ├── StoredFailure             an input failed in an earlier run of its batch
    └── ToolError                 raise it in a tool: the model sees its text
        └── ModelRetry            raise it in a tool or an output validator to ask the model again

An error that ends a run has what the run did until then in `partial`.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from agentkit.core.choice import ToolChoice
from agentkit.core.http_request import HttpRequest
from agentkit.core.messages import AssistantMessage, Message, ToolCall, Usage
from agentkit.core.printable import LINES, printable


@dataclass(frozen=True, slots=True)
class Partial:
    """What a run did before an error ended it.

    Attributes:
        messages: The whole history. Every call in it has a result, so it can be sent or resumed as it is.
        usage: The usage of all requests so far.
        events: What happened, as `Result.events` has it.
    """

    messages: tuple[Message, ...]
    usage: Usage
    events: tuple[tuple[float, Any], ...] = field(default=(), compare=False, repr=False)


class AgentkitError(Exception):
    """The base class: `except AgentkitError` catches every error of agentkit.

    Attributes:
        partial: What the run did, if this error ended one.
    """

    partial: Partial | None = None
    _keep: ClassVar[str] = ""  # what else than one line the text may have; see `printable`

    def __str__(self) -> str:
        """Return the text as one line for terminals and logs, because much of it may be an endpoint's words."""
        return printable(super().__str__(), self._keep)

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle without `__init__`, which may have other parameters than the text."""
        return _restored_error, (type(self), self.args), self.__dict__


def _restored_error(cls: type[AgentkitError], args: tuple[object, ...]) -> AgentkitError:
    return cls.__new__(cls, *args)


class ConfigurationError(AgentkitError):
    """An agent, a tool or a model is set up wrongly; the text says what to change."""

    _keep = LINES


class ToolDefinitionError(ConfigurationError):
    """A function cannot be a tool as it is; the text names the function and the parameter, and says what to do."""


class MissingExtra(ConfigurationError):
    """An optional package is not installed; the text says what to install."""


class InvalidRequest(AgentkitError, ValueError):
    """A message or a setting that no endpoint accepts. Nothing was sent."""


class ModelError(AgentkitError):
    """A model did not answer a request.

    Attributes:
        attempts: How many requests were sent.
        text: The text that was received before the error.
        calls: The calls that were received before the error. None of them ran.
        sent: The HTTP request, if the model tells it: `print(error.sent.curl())` shows how to send it again.
        usage: What broken replies cost, as the endpoint reported it, else estimated; `None` if none had begun.
    """

    attempts: int = 1
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    sent: HttpRequest | None = None
    usage: Usage | None = None


class ConnectionFailed(ModelError):
    """The endpoint could not be reached, or the connection broke."""


class ModelTimeout(ModelError):
    """There was no whole reply in time.

    Attributes:
        seconds: The timeout.
        phase: What took too long: to connect, the first byte, the time between data, or the whole request.
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
        status: The HTTP status, or `None` for an error inside a reply.
        code: The endpoint's own code or type for the error, if there is one.
        body: The beginning of the body, at most 2,000 characters.
        request_id: The endpoint's id for the request, for its support.
        retry_after: How many seconds the endpoint asks to wait, if it does.
        should_retry: Whether the endpoint asks for a retry (`x-should-retry`), if it says so.
    """

    def __init__(  # noqa: PLR0913 (someone on call wants each of them)
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
    """400, 404, 413, 422 or another 4xx: the same request would fail again."""


class ContextTooLong(RequestRefused):
    """The conversation exceeds the model's context window; trim it, or use a model with a larger one."""


class RateLimited(EndpointError):
    """429: too many requests for now."""


class QuotaExceeded(EndpointError):
    """402, or 429 with the code of a quota that is used up: waiting does not help."""


class EndpointUnavailable(EndpointError):
    """408, 409 or 5xx: the endpoint cannot answer now."""


class MalformedReply(ModelError):
    """The reply breaks the protocol.

    Attributes:
        excerpt: The beginning of what was received, at most 2,000 characters.
    """

    def __init__(self, message: str, excerpt: str = "") -> None:
        super().__init__(f"{message}: {excerpt[:200]!r}" if excerpt else message)
        self.excerpt = excerpt[:2000]


class IncompleteReply(ModelError):
    """The reply was cut; `text` and `calls` are what had arrived. None of the calls ran."""

    def __init__(self, message: str, text: str = "", calls: tuple[ToolCall, ...] = ()) -> None:
        super().__init__(message)
        self.text = text
        self.calls = calls


class ReplyTooLarge(ModelError):
    """The reply is larger than the client accepts, and was dropped.

    Attributes:
        limit: The name of the limit, a field of `ReplyLimits`.
        allowed: Its value.
    """

    def __init__(self, message: str, limit: str, allowed: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed


class ContentFiltered(ModelError):
    """The endpoint's filter stopped the answer; `text` is what had arrived. No call in it ran."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class AnswerInvalid(ModelError):
    """No answer has the output type; `text` is what the model said last."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class ToolChoiceIgnored(ModelError):
    """The model kept breaking the tool choice. No call that was not allowed ran.

    Attributes:
        reply: What it said last.
        choice: The tool choice.
        policy: The policy that made the choice, as code.
    """

    def __init__(self, message: str, reply: AssistantMessage, choice: ToolChoice, policy: str) -> None:
        super().__init__(message)
        self.reply = reply
        self.choice = choice
        self.policy = policy


class PolicyContradiction(AgentkitError):
    """Parts of a policy contradict each other; the text names both.

    Attributes:
        tools: The tools that are asked for and not offered, if that is the contradiction.
    """

    def __init__(self, message: str, tools: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.tools = tools


class StepFailed(AgentkitError):
    """The calls of a tool kept failing, so the run could not go on: the policy asks for it, or it may not be retried.

    How often it may fail in a row is `Agent(max_repeats=…)` where the policy asks for it, and `@tool(max_retries=…)`.

    Attributes:
        tool: The tool.
        times: How many replies in a row called it in vain.
        last: The last result, without notes for the model: what the tool raised, or what was wrong.
        kind: Why they failed: `error`: the tool raised; `invalid`: the arguments were invalid; `refused`: the call was
            denied; `repeated`: it succeeded, and the same call came again and again.
    """

    def __init__(
        self, message: str, tool: str, times: int, last: str, kind: Literal["error", "invalid", "refused", "repeated"]
    ) -> None:
        super().__init__(message)
        self.tool = tool
        self.times = times
        self.last = last
        self.kind = kind


class PolicyError(AgentkitError):
    """A function that was given to a policy raised; the text names both, and no call of the reply ran."""


class LimitReached(AgentkitError):
    """The run reached a limit.

    Attributes:
        limit: The name of the limit, such as `"steps"`.
        allowed: Its value.
    """

    def __init__(self, message: str, limit: str, allowed: float) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed


class RunCancelled(AgentkitError):
    """The run was cancelled."""


class SessionError(AgentkitError):
    """A conversation could not be stored or read; the text says why and what to do. Nothing stored is lost."""


class SessionBusy(SessionError):
    """Another run continues the conversation, and the session admits one at a time; nothing was sent or stored."""


class JournalError(AgentkitError):
    """The journal of a batch cannot be used; the text says why and what to do. Nothing stored is lost."""


class StoredFailure(AgentkitError):
    """An input failed in an earlier run, and the journal keeps that: `Journal(failures="keep")`.

    Attributes:
        kind: The name of the error's class.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class BatchFailed(AgentkitError):
    """Inputs of a batch failed, or it stopped early; the text says how many, and why.

    Attributes:
        errors: The errors, in the order of the inputs.
    """

    def __init__(self, message: str, errors: tuple[Exception, ...]) -> None:
        super().__init__(message)
        self.errors = errors


class ToolError(AgentkitError):
    """Raise it in a tool: the model sees its text, even if other errors are hidden."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # for the model, and no terminal


class ModelRetry(ToolError):
    """Raise it in a tool or an output validator to ask the model again; the text says what to change.

    How many times in a row a tool may do so is `@tool(max_retries=…)`.
    """
