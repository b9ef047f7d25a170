import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from agentkit import ConfigurationError
from agentkit.tool_choice import Policy, ToolName, auto, first, force
from agentkit.tool_choice.fields import Converted


def search(query: str) -> str:
    return query


def test_a_field_holds_what_its_type_converts_to() -> None:
    assert force(search).tool == "search"
    assert first("search").policy == force("search")
    assert first("search").then is auto
    with pytest.raises(ConfigurationError):
        force(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_field_without_a_default_must_be_given() -> None:
    kind: Any = first
    assert kind.then is auto
    assert not hasattr(first, "policy")
    wrong: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        ((auto, auto, auto), {}),
        ((auto,), {"policy": auto}),
    ]
    for args, kwargs in [*wrong, ((auto,), {"other": 1})]:
        with pytest.raises(TypeError):
            kind(*args, **kwargs)


def test_a_policy_is_frozen() -> None:
    policy: Any = first("search")
    with pytest.raises(FrozenInstanceError):
        policy.then = auto
    with pytest.raises(FrozenInstanceError):
        del policy.then


def test_a_type_of_field_says_how_it_converts() -> None:
    class raw(Policy):  # noqa: N801 (a policy is a word in a sentence)
        tool: ToolName
        value: Converted[int, str]

    assert raw(search, 3).tool == "search"  # a generic alias is no class, so nothing is converted
    with pytest.raises(NotImplementedError):
        Converted[int, str]().convert(3)


def test_a_hash_stays_in_its_process() -> None:
    policy = first(force("search"))
    assert hash(policy) == hash(first("search"))
    assert "_hash" in vars(policy)
    assert "_hash" not in vars(pickle.loads(pickle.dumps(policy)))  # noqa: S301 (our own bytes)
