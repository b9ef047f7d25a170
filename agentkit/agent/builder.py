"""Checks of an agent's arguments, and the values that its plan is built from."""

from collections.abc import Sequence
from functools import lru_cache
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
from agentkit.runs.dynamic import Dynamic, Instructions, RequestSettings
from agentkit.runs.lifecycle import RunInput
from agentkit.runs.options import OwnOptions, RunOptions
from agentkit.runs.output import FINAL_ANSWER, Output, answering
from agentkit.runs.plan import OnTruncated, Plan
from agentkit.tool_choice import Policy, PolicyLike, ToolLike, no_repeat, policy_of
from agentkit.tool_choice.fields import name_of_tool
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox

_NO_STOPS: frozenset[str] = frozenset()


def check_options(  # noqa: PLR0913, PLR0917 (what an agent is made of)
    tools: object,
    instructions: object,
    errors: object,
    threads: int,
    max_corrections: int,
    observers: Sequence[object],
    on_truncated: str,
) -> None:
    check_one_of("on_truncated", on_truncated, get_args(OnTruncated))
    if instructions is not None and not isinstance(instructions, str) and not callable(instructions):
        raise ConfigurationError(
            f"instructions must be a text, or a function of the state, not {type(instructions).__name__}"
        )
    if not hasattr(tools, "__iter__"):
        raise ConfigurationError(f"tools must be a list of functions, not {tools!r}")
    if errors not in ("show", "hide") and not callable(errors):
        raise ConfigurationError(f'errors must be "show", "hide" or a function, not {errors!r}')
    check_number("threads", threads, least=1, whole=True)
    check_number("max_corrections", max_corrections, least=0, whole=True)
    check_observers(observers)


def fixed_and_dynamic(
    instructions: str | Instructions | None, settings: SettingsLike | RequestSettings
) -> tuple[Settings, Dynamic | None]:
    """Return the settings that are known already, and the functions that are called before every request."""
    told = None if instructions is None or isinstance(instructions, str) else instructions
    if callable(settings):
        return Settings(), Dynamic(told, settings)
    return settings_of(settings), None if told is None else Dynamic(told)


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


def governed(  # noqa: PLR0913, PLR0917 (what a policy has to fit)
    tool_choice: PolicyLike,
    toolbox: Toolbox,
    stop_at: frozenset[str],
    output: Output[Any] | None,
    max_corrections: int,
    max_repeats: int | None,
) -> tuple[Toolbox, Policy]:
    """Return the tools and the policy of a run: bound to the tools, checked, and guarded against repetition.

    Raises:
        ConfigurationError: If the policy names other tools, never lets a run end, or contradicts itself.
    """
    given = policy_of(tool_choice)
    if tools := given.provided(toolbox):
        toolbox = Toolbox([*toolbox, *{tool.name: tool for tool in tools}.values()])
    guard = None if max_repeats is None else _guard(max_repeats)
    policy, bound_guard = given.bound(toolbox), None if guard is None else guard.bound(toolbox)
    corrections = max_corrections if output is not None and output.final is not None else None
    # A policy that takes something from the tools equals one that took it from others, so it is never kept.
    keeps = policy is given and bound_guard is guard and _is_hashable(policy)
    prepare = _prepared if keeps else _prepared.__wrapped__
    return toolbox, prepare(policy, toolbox.names, stop_at, bound_guard, corrections)


def under(plan: Plan, options: OwnOptions, names: frozenset[str] = OWN) -> Plan:
    """Return the plan of a run that has options of its own; `names` are those that it may have."""
    check_names(options, names)
    model, tool_choice = options.get("model"), options.get("tool_choice")
    settings, limits = options.get("settings"), options.get("limits")
    if model is not None:
        plan = plan._replace(model=model_of(model, plan.on_truncated))
    if tool_choice is not None:
        toolbox, policy = governed(
            tool_choice, plan.toolbox, plan.stop_at, plan.output, plan.max_corrections, plan.max_repeats
        )
        plan = plan._replace(toolbox=toolbox, policy=policy)
    if settings is not None:
        merged = plan.settings.merged(settings_of(settings))
        selector = plan.selector if (merged.n or 1) > 1 else None
        plan = plan._replace(settings=merged, selector=selector_of(selector, merged))
    if limits is not None:
        plan = plan._replace(limits=limits_of(limits))
    return plan


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


_guard = lru_cache(maxsize=64)(no_repeat)


def _is_hashable(policy: Policy) -> bool:
    try:
        hash(policy)
    except TypeError:  # a rule may be an object that is not
        return False
    return True


@lru_cache(maxsize=1_024)  # a thousand agents with one policy and tools of the same names prepare it once
def _prepared(
    policy: Policy, names: frozenset[str], stop_at: frozenset[str], guard: no_repeat | None, corrections: int | None
) -> Policy:
    for name in sorted((policy.tools | stop_at) - names):
        raise _unknown_tool(repr(policy) if name in policy.tools else "stop_at", name, names)
    if not policy.can_answer and not stop_at:
        raise ConfigurationError(
            f"under {policy!r} the model could never answer, so a run would call tools until a limit ends it. "
            f"Release it: first({policy!r}, then=auto), until_called(tool, {policy!r}) or {policy!r} & budget(8); or "
            "end the run with a tool: Agent(…, stop_at=tool)"
        )
    policy = policy.knowing(policy.tools)
    typed = policy if corrections is None else answering(policy, FINAL_ANSWER, corrections)
    if policy.parts and _is_hashable(policy):  # one that is not made of others cannot contradict itself
        from agentkit.tool_choice.analysis import refusal  # noqa: PLC0415

        if reason := refusal(typed, names, stop_at):
            raise ConfigurationError(
                f"{reason}. To see all that it can do: agentkit.tool_choice.analyse(policy, tools)"
            )
    return typed if guard is None or typed.every(no_repeat) else typed & guard


def _unknown_tool(where: str, name: str, names: frozenset[str]) -> ConfigurationError:
    known = ", ".join(sorted(names)) or "none"
    return ConfigurationError(f"{where} names {name!r}, which is not a tool of the agent; its tools: {known}")


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
