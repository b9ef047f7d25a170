"""Checks of an agent's arguments, and the values that its plan is built from."""

from collections.abc import Sequence
from inspect import iscoroutinefunction
from types import NoneType
from typing import Any, get_args

from agentkit.agent.mistakes import OWN, check_names, limits_of, mistaken_model, session_of
from agentkit.core.chat import Settings, SettingsLike, settings_of
from agentkit.core.checks import check_number, check_one_of
from agentkit.core.dicts import Prompt, messages_of
from agentkit.core.errors import ConfigurationError, InvalidRequest
from agentkit.core.messages import Message
from agentkit.core.model import Model
from agentkit.models.client.chat_client import ChatClient
from agentkit.models.client.providers import split_name
from agentkit.runs.candidates import Selector, first_valid
from agentkit.runs.dynamic import Dynamic, GivesTools, Instructions, RequestSettings, Tools
from agentkit.runs.governing import governed
from agentkit.runs.lifecycle import RunInput
from agentkit.runs.options import OwnOptions, RunOptions
from agentkit.runs.output import Output
from agentkit.runs.plan import OnTruncated, Plan
from agentkit.tool_choice import PolicyLike, ToolLike, policy_of
from agentkit.tool_choice.fields import name_of_tool
from agentkit.tool_choice.policy import takes_state
from agentkit.tools.schema.callables import callable_name
from agentkit.tools.tool import Tool, tool_name
from agentkit.tools.toolbox import Toolbox

_NO_STOPS: frozenset[str] = frozenset()
_WHEN_TRUNCATED = get_args(OnTruncated)
_NO_SETTINGS = Settings()
_NOT_DYNAMIC = Dynamic()


def tools_of(tools: Tools | GivesTools) -> tuple[Toolbox, GivesTools | None]:
    """Return the tools that are known already, and the function that gives others for each request."""
    if isinstance(tools, Toolbox):
        return tools, None
    if not callable(tools):
        if not hasattr(tools, "__iter__"):
            raise ConfigurationError(f"tools must be a list of functions, or a function of the state, not {tools!r}")
        return Toolbox(tools), None
    if tool_name(tools) is not None or not takes_state(tools):
        raise ConfigurationError(f"tools must be a list of functions: tools=[{callable_name(tools)}]")
    return Toolbox(), tools


def check_options(  # noqa: PLR0913, PLR0917 (what an agent is made of)
    instructions: object,
    errors: object,
    threads: int,
    max_corrections: int,
    observers: Sequence[object],
    on_truncated: str,
) -> None:
    check_one_of("on_truncated", on_truncated, _WHEN_TRUNCATED)
    if instructions is not None and not isinstance(instructions, str) and not callable(instructions):
        raise ConfigurationError(
            f"instructions must be a text, or a function of the state, not {type(instructions).__name__}"
        )
    if errors not in ("show", "hide") and not callable(errors):
        raise ConfigurationError(f'errors must be "show", "hide" or a function, not {errors!r}')
    check_number("threads", threads, least=1, whole=True)
    check_number("max_corrections", max_corrections, least=0, whole=True)
    check_observers(observers)


def fixed_and_dynamic(
    instructions: str | Instructions | None, settings: SettingsLike | RequestSettings, give: GivesTools | None
) -> tuple[Settings, Dynamic | None]:
    """Return the settings that are known already, and the functions that are called before every request."""
    told = None if instructions is None or isinstance(instructions, str) else instructions
    fixed = _NO_SETTINGS if callable(settings) else settings_of(settings)
    dynamic = Dynamic(told, settings if callable(settings) else None, give)
    return fixed, None if dynamic == _NOT_DYNAMIC else dynamic


def check_observers(observers: Sequence[object]) -> None:
    """Raise `ConfigurationError` if an observer is async."""
    for observer in observers:
        if iscoroutinefunction(observer):
            raise ConfigurationError(f"{observer!r} is async; an observer must be a plain function that does not block")


def selector_of(selector: Selector | None, settings: Settings) -> Selector | None:
    """Return the selector; `None` if only one answer is requested."""
    several = (settings.n or 1) > 1
    if selector is None:
        return first_valid if several else None
    if not several:
        raise ConfigurationError("selector needs several answers to select from: Agent(…, settings=Settings(n=5))")
    if iscoroutinefunction(selector):
        raise ConfigurationError(f"{selector!r} is async; a selector must be a plain function")
    return selector


def stops_of(stop_at: ToolLike | Sequence[ToolLike] | None, toolbox: Toolbox) -> frozenset[str]:
    """Return the names of the tools whose success ends a run."""
    names = [tool.name for tool in toolbox if tool.options.ends]
    if stop_at is not None:
        tools = (stop_at,) if isinstance(stop_at, str | Tool) or callable(stop_at) else stop_at
        names += map(name_of_tool, tools)
    return frozenset(names) if names else _NO_STOPS


def with_final(toolbox: Toolbox, typed: Output[Any] | None, stops: frozenset[str]) -> tuple[Toolbox, frozenset[str]]:
    """Add the final-answer tool, which is then the only one that ends a run."""
    if typed is not None and stops:
        raise ConfigurationError(f"a structured output ends the run, so {', '.join(sorted(stops))} cannot end it too")
    final = None if typed is None else typed.final
    return (toolbox, stops) if final is None else (Toolbox([*toolbox, final]), frozenset({final.name}))


def under(plan: Plan, options: OwnOptions, names: frozenset[str] = OWN) -> Plan:
    """Return the plan of a run that has options of its own; `names` are those that it may have."""
    check_names(options, names)
    model, tool_choice = options.get("model"), options.get("tool_choice")
    settings, limits = options.get("settings"), options.get("limits")
    if model is not None:
        plan = plan._replace(model=model_of(model, plan.on_truncated))
    if tool_choice is not None:
        plan = governing(plan, tool_choice)
    if settings is not None:
        merged = plan.settings.merged(settings_of(settings))
        selector = plan.selector if (merged.n or 1) > 1 else None
        plan = plan._replace(settings=merged, selector=selector_of(selector, merged))
    if limits is not None:
        plan = plan._replace(limits=limits_of(limits))
    return plan


def governing(plan: Plan, tool_choice: PolicyLike) -> Plan:
    """Return the plan with a policy, checked. Where a function gives the tools, each request binds it to those."""
    varying = plan.gives_tools
    toolbox, policy = governed(
        tool_choice,
        plan.toolbox,
        plan.stop_at,
        plan.output,
        plan.max_corrections,
        plan.max_repeats,
        varying=varying,
    )
    if varying:
        return plan._replace(policy=policy_of(tool_choice))
    return plan._replace(toolbox=toolbox, policy=policy)


def prepared(plan: Plan, prompt: Prompt | None, options: RunOptions[Any]) -> tuple[Plan, RunInput]:
    """Return the plan and the input of a run, checked.

    Raises:
        ConfigurationError: If an option is unknown or does not fit the agent.
        InvalidRequest: If there is no message, or the dependencies are missing.
    """
    deps, session = options.get("deps"), session_of(options.get("session"))
    if deps is None and plan.deps_type is not NoneType:
        raise InvalidRequest(f"the agent's tools need a {plan.deps_type.__name__}: run(…, deps=…)")
    messages: tuple[Message, ...] = () if prompt is None else messages_of(prompt)
    if not messages and (prompt is not None or session is None):
        raise InvalidRequest("a run needs at least one message")
    if options:
        plan = under(plan, options)
    return plan, RunInput(messages, deps, options.get("approver"), session)


def model_of(model: str | Model, on_truncated: OnTruncated) -> Model:
    """Return the model for a name, wrapped if truncated answers are to be continued."""
    if isinstance(model, str):
        kind, colon, path = model.partition(":")
        if kind == "local":
            model = _local_model(path if colon else None)
        else:
            name, provider = split_name(model)
            model = ChatClient(name, provider=provider)
    elif isinstance(model, type) or not callable(getattr(model, "complete", None)):
        raise mistaken_model(model)
    if on_truncated == "continue":
        from agentkit.models.continuing import Continuing  # noqa: PLC0415

        model = Continuing(model)
    return model


def _local_model(path: str | None) -> Model:
    from agentkit.models.local import LocalModel  # noqa: PLC0415

    return LocalModel(path)
