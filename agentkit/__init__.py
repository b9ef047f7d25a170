"""agentkit: Python functions as tools, one small loop, and tool_choice policies that are enforced."""

from importlib import import_module
from typing import TYPE_CHECKING

from agentkit.agent.agent import Agent
from agentkit.agent.handoffs import handoff
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Settings
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import (
    AgentkitError,
    AnswerInvalid,
    AuthenticationFailed,
    BatchFailed,
    ConfigurationError,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    EndpointError,
    EndpointUnavailable,
    IncompleteReply,
    InvalidRequest,
    JournalError,
    LimitReached,
    MalformedReply,
    MissingExtra,
    ModelError,
    ModelRetry,
    ModelTimeout,
    Partial,
    PolicyContradiction,
    PolicyError,
    QuotaExceeded,
    RateLimited,
    ReplyTooLarge,
    RequestRefused,
    RunCancelled,
    SessionBusy,
    SessionError,
    StepFailed,
    StoredFailure,
    ToolChoiceIgnored,
    ToolDefinitionError,
    ToolError,
)
from agentkit.core.http_request import HttpRequest
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.core.model import Model
from agentkit.core.parts import AudioPart, FilePart, ImagePart, TextPart
from agentkit.core.reply_limits import ReplyLimits
from agentkit.core.session import Session
from agentkit.core.state import State, Step, Violation
from agentkit.core.usage import Price
from agentkit.models.client.chat_client import ChatClient
from agentkit.models.client.pacing import Pacing
from agentkit.models.client.profile import Profile
from agentkit.models.client.retries import Retries
from agentkit.models.client.timeouts import Timeouts
from agentkit.runs.candidates import Candidate, first_valid, majority
from agentkit.runs.events import (
    AnswerDelta,
    ApprovalNeeded,
    ArgumentsRepaired,
    Event,
    HistoryRepaired,
    MessageReceived,
    Nested,
    ReasoningDelta,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.runs.handle import Run
from agentkit.runs.limits import Limits
from agentkit.runs.result import Result
from agentkit.tools.approval import Decision, approve, deny, in_terminal
from agentkit.tools.context import Depends, ToolContext
from agentkit.tools.tool import Tool, tool
from agentkit.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from agentkit.models import Fallback, Prompted, TextToolCalls, Trimmed
    from agentkit.models.local import LocalModel
    from agentkit.runs.batch.batch import Batch, Input
    from agentkit.runs.batch.journal import Journal
    from agentkit.runs.batch.outcomes import Batched, Mapped, Summary
    from agentkit.sessions import Exclusive, JsonLines, Memory, Sqlite

__all__ = [
    "Agent",
    "AgentkitError",
    "AnswerDelta",
    "AnswerInvalid",
    "ApprovalNeeded",
    "ArgumentsRepaired",
    "AssistantMessage",
    "AudioPart",
    "AuthenticationFailed",
    "Batch",
    "BatchFailed",
    "Batched",
    "Candidate",
    "ChatChunk",
    "ChatClient",
    "ChatRequest",
    "ChatResponse",
    "ConfigurationError",
    "ConnectionFailed",
    "ContentFiltered",
    "ContextTooLong",
    "Decision",
    "Depends",
    "DeveloperMessage",
    "EndpointError",
    "EndpointUnavailable",
    "Event",
    "Exclusive",
    "Fallback",
    "FilePart",
    "HistoryRepaired",
    "HttpRequest",
    "ImagePart",
    "IncompleteReply",
    "Input",
    "InvalidRequest",
    "Journal",
    "JournalError",
    "JsonLines",
    "LimitReached",
    "Limits",
    "LocalModel",
    "MalformedReply",
    "Mapped",
    "Memory",
    "Message",
    "MessageReceived",
    "MissingExtra",
    "Model",
    "ModelError",
    "ModelRetry",
    "ModelTimeout",
    "Nested",
    "Pacing",
    "Partial",
    "PolicyContradiction",
    "PolicyError",
    "Price",
    "Profile",
    "Prompted",
    "QuotaExceeded",
    "RateLimited",
    "ReasoningDelta",
    "ReplyLimits",
    "ReplyTooLarge",
    "RequestRefused",
    "Result",
    "Retries",
    "Run",
    "RunCancelled",
    "RunFinished",
    "RunStarted",
    "Session",
    "SessionBusy",
    "SessionError",
    "Settings",
    "Sqlite",
    "State",
    "Step",
    "StepFailed",
    "StepFinished",
    "StepStarted",
    "StoredFailure",
    "Summary",
    "SystemMessage",
    "TextDelta",
    "TextPart",
    "TextToolCalls",
    "Timeouts",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "ToolChoiceIgnored",
    "ToolContext",
    "ToolDefinitionError",
    "ToolError",
    "ToolFinished",
    "ToolMessage",
    "ToolProgress",
    "ToolStarted",
    "Toolbox",
    "Trimmed",
    "Usage",
    "UserMessage",
    "Violation",
    "approve",
    "deny",
    "first_valid",
    "handoff",
    "in_terminal",
    "majority",
    "tool",
]

_LATER = {
    "Fallback": "agentkit.models",
    "Prompted": "agentkit.models",
    "TextToolCalls": "agentkit.models",
    "Trimmed": "agentkit.models",
    "LocalModel": "agentkit.models.local",
    "Batch": "agentkit.runs.batch.batch",
    "Input": "agentkit.runs.batch.batch",
    "Journal": "agentkit.runs.batch.journal",
    "Batched": "agentkit.runs.batch.outcomes",
    "Mapped": "agentkit.runs.batch.outcomes",
    "Summary": "agentkit.runs.batch.outcomes",
    "Exclusive": "agentkit.sessions",
    "JsonLines": "agentkit.sessions",
    "Memory": "agentkit.sessions",
    "Sqlite": "agentkit.sessions",
}
"""What is heavy and rarely needed, loaded when it is first asked for."""

# To a type checker, a module with `__getattr__` has every name.
if not TYPE_CHECKING:  # pragma: no branch

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(_LATER[name]), name)
        globals()[name] = value
        return value
