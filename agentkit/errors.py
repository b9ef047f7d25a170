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
    │   │   ├── RateLimited               429
    │   │   └── EndpointUnavailable       408, 409, 5xx
    │   ├── IncompleteReply       the answer was cut before its end
    │   ├── MalformedReply        the answer is not what the protocol has
    │   └── ToolChoiceIgnored     the model kept breaking the tool choice
    ├── PolicyContradiction       the parts of a policy want what cannot be had together
    ├── LimitReached              a limit of the run was reached
    ├── RunCancelled              the run was stopped before its end
    └── ToolError                 raise it in a tool: its text is what the model is told

An error that ends a run carries what the run had done until then in `partial`.
"""

from dataclasses import dataclass

from agentkit.choice import ToolChoice
from agentkit.messages import AssistantMessage, Message, Usage


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
    """A model was asked and did not answer."""


class ConnectionFailed(ModelError):
    """There was no connection to the endpoint, or it broke."""


class ModelTimeout(ModelError):
    """There was no whole answer in time.

    Attributes:
        seconds: The time that was allowed.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class EndpointError(ModelError):
    """The endpoint answered with an error.

    Attributes:
        status: The HTTP status, or `None` for an error that came inside an answer.
        code: The endpoint's own code or type for the error, if it gave one.
        body: The endpoint's own words, at most 2,000 characters.
        request_id: The endpoint's id for the request, for its support desk.
        retry_after: How many seconds the endpoint asks to wait, if it does.
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
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after


class AuthenticationFailed(EndpointError):
    """401 or 403: the key is missing, wrong, or not allowed to do this."""


class RequestRefused(EndpointError):
    """400, 404, 413, 422 or another 4xx: the same request would be refused again."""


class RateLimited(EndpointError):
    """429: too many requests, or a quota that is used up."""


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
    """The answer was cut before its end. No call in it was run.

    Attributes:
        text: The text that had been received.
    """

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


class ToolError(AgentkitError):
    """Raise it in a tool: its text is what the model is told, also where other errors are hidden."""
