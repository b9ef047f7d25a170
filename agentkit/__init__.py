"""agentkit: Python functions as tools, one small loop, and tool_choice policies that are enforced."""

from agentkit.agent import Agent
from agentkit.approval import Decision, approve, deny, in_terminal
from agentkit.choice import ToolChoice
from agentkit.client import ChatClient
from agentkit.context import Depends, ToolContext
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
    ToolChoiceIgnored,
    ToolDefinitionError,
    ToolError,
)
from agentkit.events import (
    CallMended,
    Event,
    HistoryRepaired,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
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
from agentkit.models import Fallback, Prompted, TextCalls
from agentkit.outputs import Retry
from agentkit.pacing import Pacing
from agentkit.profiles import Profile
from agentkit.results import Result
from agentkit.retries import Retries
from agentkit.runs import Run
from agentkit.sizes import Sizes
from agentkit.state import State, Step
from agentkit.timeouts import Timeouts
from agentkit.tools import Tool, Toolbox, tool
from agentkit.wire import ChatChunk, ChatRequest, ChatResponse, Settings

__all__ = [
    "Agent",
    "AgentkitError",
    "AnswerInvalid",
    "AssistantMessage",
    "AuthenticationFailed",
    "CallMended",
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
    "ImagePart",
    "IncompleteReply",
    "InvalidRequest",
    "LimitReached",
    "Limits",
    "LocalModel",
    "MalformedReply",
    "Message",
    "MissingExtra",
    "Model",
    "ModelError",
    "ModelTimeout",
    "Pacing",
    "Partial",
    "PolicyContradiction",
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
    "Settings",
    "Sizes",
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
    "Usage",
    "UserMessage",
    "approve",
    "deny",
    "in_terminal",
    "tool",
]
