"""What hands that learnt another framework write, and what to write here instead."""

from collections.abc import Collection, Iterable
from os import PathLike, fspath

from agentkit.core.errors import ConfigurationError
from agentkit.core.session import Session
from agentkit.runs.limits import Limits

_SETTING = "settings=Settings({}=…)"
_FIELD = 'settings={{"{}": …}}'
_CLIENT = "ChatClient(model, {}=…) as the model"
_STEPS = "limits=Limits(steps=…)"
_TOOLS = "tools=[…]"
_INSTRUCTIONS = "instructions=…"
_OUTPUT = "output=…, the type of the output"
_OBSERVERS = "observers=[function]"
_HISTORY = "run(messages), with the whole history as the prompt, or run(…, session=…)"

_ANYWHERE = {
    **{name: _SETTING.format(name) for name in ("temperature", "top_p", "stop", "max_tokens", "n", "user", "seed")},
    **{name: _SETTING.format(name) for name in ("reasoning_effort", "parallel_tool_calls")},
    **{name: _FIELD.format(name) for name in ("top_k", "logprobs", "logit_bias")},
    **dict.fromkeys(("model_settings", "model_kwargs", "generation_config"), "settings=Settings(…)"),
    **dict.fromkeys(("max_turns", "max_steps", "max_iterations", "max_iter", "recursion_limit"), _STEPS),
    **dict.fromkeys(("usage_limits", "limit"), "limits=Limits(…)"),
    "max_completion_tokens": _SETTING.format("max_tokens"),
    "max_time": "limits=Limits(seconds=…)",
    "policy": "tool_choice=…",
    "llm": "model=…, the first argument",
}
_FOR_AGENTS = {
    **dict.fromkeys(("system_prompt", "system", "system_message", "prompt", "instruction", "role"), _INSTRUCTIONS),
    **dict.fromkeys(("output_type", "result_type", "output_schema", "response_model"), _OUTPUT),
    **dict.fromkeys(("response_format", "structured_output"), _OUTPUT),
    **{name: _CLIENT.format(name) for name in ("base_url", "api_key", "timeout", "headers", "profile")},
    **dict.fromkeys(("functions", "tool", "toolsets", "mcp_servers"), _TOOLS),
    **dict.fromkeys(("callbacks", "hooks", "verbose", "event_handler", "on_event"), _OBSERVERS),
    **dict.fromkeys(("memory", "session", "checkpointer", "storage", "db"), "run(…, session=…)"),
    **dict.fromkeys(("guardrails", "output_guardrails", "validators"), "output_validators=[…]"),
    "retries": "max_corrections=…, for replies, or ChatClient(model, retries=…) as the model, for requests",
    "handoffs": 'tools=[handoff(agent, "when to hand over")]',
    "agents": "tools=[agent.as_tool(name, description)]",
    "sub_agents": "tools=[agent.as_tool(name, description)]",
    "description": "agent.as_tool(name, description)",
    "deps": "run(…, deps=…); deps_type=… is for type checkers",
    "context_type": "deps_type=…",
    "approver": "run(…, approver=…)",
    "human_input": "@tool(approval=True) and run(…, approver=…)",
    "tool_use_behavior": "stop_at=…",
    "stream": "agent.stream(…)",
}
_FOR_RUNS = {
    **dict.fromkeys(("message_history", "history", "messages", "chat_history"), _HISTORY),
    **dict.fromkeys(("input", "user_prompt", "query", "task", "inputs"), "the prompt as the first argument"),
    **dict.fromkeys(("context", "dependencies", "state"), "deps=…"),
    **dict.fromkeys(("output", "output_type", "result_type", "response_format"), "Agent(…, output=…)"),
    **dict.fromkeys(("instructions", "system_prompt"), "Agent(…, instructions=…)"),
    **dict.fromkeys(("observers", "callbacks", "config"), "Agent(…, observers=[…]), or agent.with_observers(…)"),
    "tools": "Agent(…, tools=[…])",
    "stream": "agent.stream(…)",
    "timeout": "limits=Limits(seconds=…)",
    "thread_id": "session=…",
    "session_id": "session=…",
    "conversation_id": "session=…",
}
_METHODS = {
    **dict.fromkeys(("tool", "tool_plain", "add_tool", "bind_tools"), "make an agent with Agent(…, tools=[…])"),
    **dict.fromkeys(("system_prompt", "instructions"), "Agent(…, instructions=…)"),
    **dict.fromkeys(("invoke", "ainvoke", "arun", "chat", "ask", "kickoff"), "agent.run(…), or agent.run_sync(…)"),
    **dict.fromkeys(("run_stream", "run_streamed", "astream", "iter", "stream_sync"), "agent.stream(…)"),
    **dict.fromkeys(("batch", "abatch", "run_many"), "agent.map(…)"),
    "output_validator": "Agent(…, output_validators=[…])",
    "result_validator": "Agent(…, output_validators=[…])",
    "model": "agent.plan.model; agent.with_model(…) for another one",
    "clone": "agent.with_model(…), agent.with_name(…), or run(…, settings=…)",
}
OWN = frozenset({"deps", "approver", "session", "tool_choice", "model", "settings", "limits"})
"""The options of a run."""


def check_arguments(unknown: Collection[str]) -> None:
    """Raise `ConfigurationError` if `Agent` was given arguments that it does not have."""
    if unknown:
        raise _unknown("Agent", unknown, {**_ANYWHERE, **_FOR_AGENTS})


def check_names(options: Iterable[str], allowed: frozenset[str]) -> None:
    """Raise `ConfigurationError` if a run has an option that there is not."""
    if wrong := [name for name in options if name not in allowed]:
        raise _unknown("a run", wrong, {**_ANYWHERE, **_FOR_RUNS})


def _unknown(where: str, names: Iterable[str], instead: dict[str, str]) -> ConfigurationError:
    wrong = next(iter(names))
    if (write := instead.get(wrong)) is None:
        options = ", ".join(sorted(OWN)) if where == "a run" else "see help(Agent)"
        return ConfigurationError(f"{where} has no option {wrong!r}; its options: {options}")
    return ConfigurationError(f"{where} has no option {wrong!r}; write {write}")


def missing_attribute(name: str) -> AttributeError:
    """Return the error for an attribute that an agent does not have."""
    if (write := _METHODS.get(name)) is None:
        return AttributeError(f"an agent has no {name!r}")
    return AttributeError(f"an agent has no {name!r}, and is frozen; write {write}")


def mistaken_model(model: object) -> ConfigurationError:
    """Return the error for a model that is none."""
    module = (model if isinstance(model, type) else type(model)).__module__.partition(".")[0]
    if isinstance(model, type):
        return ConfigurationError(f"the model is the class {model.__name__}; pass an object of it: {model.__name__}(…)")
    if module in ("openai", "httpx", "litellm", "anthropic", "langchain_openai"):
        return ConfigurationError(
            f"a client of {module} is no model of agentkit; write ChatClient(model, base_url=…, api_key=…)"
        )
    return ConfigurationError(f"a model is a model's name, ChatClient(…), or an object with complete(…), not {model!r}")


def limits_of(limits: object) -> Limits:
    """Return the limits, or raise `ConfigurationError` for what is none."""
    if isinstance(limits, Limits):
        return limits
    if isinstance(limits, int):
        raise ConfigurationError(f"limits must be Limits(steps=…, seconds=…): write Limits(steps={limits})")
    raise ConfigurationError(f"limits must be Limits(steps=…, seconds=…), not {limits!r}")


def session_of(session: object) -> Session | None:
    """Return the session; a path of JSON lines is one."""
    if session is None:
        return None
    if callable(getattr(session, "conversation", None)):
        raise ConfigurationError(f"{session!r} has many conversations; write session=….conversation(name)")
    if isinstance(session, Session):
        return session
    if isinstance(session, str | PathLike):
        path = str(fspath(session))  # pyright: ignore[reportUnknownArgumentType] (a path of texts or of bytes)
        if path.endswith(".jsonl"):
            from agentkit.sessions.jsonl import JsonLines  # noqa: PLC0415

            return JsonLines(path)
        raise ConfigurationError(
            f"a session is an object; for the file {path!r} write Sqlite({path!r}).conversation(name), for many "
            f"conversations, or JsonLines({path!r}), for one"
        )
    raise ConfigurationError(f"a session is JsonLines(…), Memory() or Sqlite(…).conversation(name), not {session!r}")
