"""Functions of a user's that policies call: checked when a policy is made, and named when they raise."""

from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from agentkit.core.errors import AgentkitError, ConfigurationError, PolicyError
from agentkit.core.json import decode, object_of
from agentkit.tools.toolbox import Toolbox

ResultT = TypeVar("ResultT")


def result_of(policy: object, function: Callable[..., ResultT], *args: Any) -> ResultT:
    """Call a function that was given to a policy, so that its errors say where they come from.

    Raises:
        PolicyError: If it raises; an error of agentkit, such as a contradiction, is raised as it is.
    """
    try:
        return function(*args)
    except AgentkitError:
        raise
    except Exception as error:
        raise PolicyError(
            f"a function that {policy!r} was given raised {type(error).__name__}: {error}; it must be able to read "
            "every state, call and result that there can be"
        ) from error


def read_result(text: str) -> object:
    """Return a tool result, decoded if it is JSON, without what agentkit wrote around it for the model.

    A note of a policy may follow the result; a line on changed arguments may come before it.
    """
    result = text.partition("\n\nNote: ")[0]
    for part in (result, result.rpartition("\n\n")[2]):
        try:
            return decode(part)
        except ValueError:
            continue
    return result


def check_parameters(policy: object, toolbox: Toolbox, tool: str, parameters: Iterable[str]) -> None:
    """Check that a tool has the parameters that a policy names; whether there is the tool, the agent checks.

    Raises:
        ConfigurationError: If it has not: a policy on a misspelled argument would guard nothing.
    """
    known = toolbox.get(tool)
    if known is None or known.arguments.schema.get("additionalProperties") is not False:
        return
    names = object_of(known.arguments.schema.get("properties"))
    if missing := [parameter for parameter in parameters if parameter not in names]:
        raise ConfigurationError(
            f"{policy!r} names the parameter {', '.join(missing)}, which {tool} does not have; it has "
            f"{', '.join(names) or 'none'}"
        )


def check_functions(policy: object, *functions: object) -> None:
    """Check that what was given to a policy are plain functions.

    Raises:
        ConfigurationError: If one is not callable, or async: what it returns would always be true.
    """
    for function in functions:
        if not callable(function) or iscoroutinefunction(function):
            raise ConfigurationError(f"{type(policy).__name__} takes a function that is not async, not {function!r}")
