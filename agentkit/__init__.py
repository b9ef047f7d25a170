"""agentkit: Python functions as tools, one small loop, and tool_choice policies that are enforced."""

from agentkit.agent import Agent
from agentkit.approval import Decision, approve, deny, in_terminal
from agentkit.choice import ToolChoice
from agentkit.client import ChatClient
from agentkit.context import Depends, ToolContext
from agentkit.costs import Price
from agentkit.errors import (
    AgentkitError,
    AnswerInvalid,
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    EndpointError,
    EndpointUnavailable,
    IncompleteReply,
    InvalidRequest,
    LimitReached,
    MalformedReply,
    MissingExtra,
    ModelError,
    ModelTimeout,
    Partial,
    PolicyContradiction,
    QuotaExceeded,
    RateLimited,
    ReplyTooLarge,
    RequestRefused,
    RunCancelled,
    SessionError,
    ToolChoiceIgnored,
    ToolDefinitionError,
    ToolError,
)
from agentkit.events import (
    AnswerDelta,
    ApprovalNeeded,
    CallMended,
    Event,
    HistoryRepaired,
    Nested,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.handoffs import handoff
from agentkit.http_request import HttpRequest
from agentkit.limits import Limits
from agentkit.local import LocalModel
from agentkit.messages import (
    AssistantMessage,
    DeveloperMessage,
    ImagePart,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.model import Model
from agentkit.models import Fallback, Prompted, TextCalls, Trimmed
from agentkit.outputs import Retry
from agentkit.pacing import Pacing
from agentkit.picking import Candidate, first_valid, majority
from agentkit.profiles import Profile
from agentkit.results import Result
from agentkit.retries import Retries
from agentkit.runs import Run
from agentkit.sessions import JsonLines, Memory, Session, Sqlite
from agentkit.sizes import Sizes
from agentkit.state import State, Step
from agentkit.timeouts import Timeouts
from agentkit.toolbox import Toolbox
from agentkit.tools import Tool, tool
from agentkit.wire import ChatChunk, ChatRequest, ChatResponse, Settings

__all__ = [
    "Agent",
    "AgentkitError",
    "AnswerDelta",
    "AnswerInvalid",
    "ApprovalNeeded",
    "AssistantMessage",
    "AuthenticationFailed",
    "CallMended",
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
    "Fallback",
    "HistoryRepaired",
    "HttpRequest",
    "ImagePart",
    "IncompleteReply",
    "InvalidRequest",
    "JsonLines",
    "LimitReached",
    "Limits",
    "LocalModel",
    "MalformedReply",
    "Memory",
    "Message",
    "MissingExtra",
    "Model",
    "ModelError",
    "ModelTimeout",
    "Nested",
    "Pacing",
    "Partial",
    "PolicyContradiction",
    "Price",
    "Profile",
    "Prompted",
    "QuotaExceeded",
    "RateLimited",
    "ReplyTooLarge",
    "RequestRefused",
    "Result",
    "Retries",
    "Retry",
    "Run",
    "RunCancelled",
    "RunFinished",
    "RunStarted",
    "Session",
    "SessionError",
    "Settings",
    "Sizes",
    "Sqlite",
    "State",
    "Step",
    "StepFinished",
    "StepStarted",
    "SystemMessage",
    "TextCalls",
    "TextDelta",
    "TextPart",
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
    "approve",
    "deny",
    "first_valid",
    "handoff",
    "in_terminal",
    "majority",
    "tool",
]
