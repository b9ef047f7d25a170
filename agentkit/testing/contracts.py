"""What a policy of your own must be, checked over many histories."""

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import replace
from random import Random
from typing import NamedTuple

from agentkit.core.choice import ToolChoice, Verdict
from agentkit.core.errors import PolicyContradiction
from agentkit.core.messages import AssistantMessage, Message, Outcome, ToolCall, ToolMessage, UserMessage
from agentkit.core.state import Call, State
from agentkit.tool_choice import Policy, PolicyLike, ToolLike, auto, force, none, policy_of, required
from agentkit.tool_choice.fields import name_of_tool

_HISTORIES = 50
_LONGEST = 5
_OUTCOMES: tuple[Outcome, ...] = ("ok", "ok", "error", "refused")
_STRICT = ("allow", "ask", "deny")


class _History(NamedTuple):
    """A history, in words too: `a:ok+b:error`."""

    messages: tuple[Message, ...] = (UserMessage("go"),)
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"after {', then '.join(self.path)}" if self.path else "at the beginning"


class _Answers(NamedTuple):
    """What a policy says in a state: its choice, `None` for a contradiction, and its verdicts."""

    choice: ToolChoice | None
    verdicts: tuple[Verdict, ...]


def policy_contract(policy: PolicyLike, tools: Iterable[ToolLike]) -> None:
    """Check that a policy is what the loop, `&` and `analyse` rely on.

    - It is frozen and pure, and equals its pickled copy (not checked where a function in it cannot be pickled).
    - `policy & other` lets the model do nothing that `policy` alone does not.
    - `can_answer` and `silences` are true: a policy that cannot answer never chooses `auto` or `none`.
    - `memory` is true: after two histories that it remembers alike, and after whatever follows, it says the same.

    The histories are always the same, so a test does not fail now and then.

    Args:
        policy: The policy.
        tools: Two tools or more, among them those that the policy names.

    Raises:
        AssertionError: If it is not; the text has the history.

    Example:
        >>> policy_contract(office_hours("pay"), ["pay", "search"])
    """
    __tracebackhide__ = True
    held, names = policy_of(policy), [name_of_tool(tool) for tool in tools]
    histories = list(_histories(held, names))
    _check_frozen(held)
    for history in histories:
        _check_answers(held, names, history)
    _check_copy(held, names, histories)
    _check_memory(held, names, histories)


def _histories(policy: Policy, names: list[str]) -> Iterator[_History]:
    random = Random(1)  # noqa: S311 (nothing is kept secret by it)
    yield _History()
    for number in range(_HISTORIES):
        history = _History()
        for _ in range(1 + number % _LONGEST):
            if random.random() < 0.1:  # noqa: PLR2004 (now and then)
                history = _History((*history.messages, UserMessage("and now?")), (*history.path, "user"))
            history = _followed(history, policy, names, random)
        yield history


def _followed(history: _History, policy: Policy, names: list[str], random: Random) -> _History:
    """Return the history with one more reply, of one call or two."""
    calls: list[ToolCall] = []
    answers: list[ToolMessage] = []
    words: list[str] = []
    for _ in range(random.choice((1, 1, 2))):
        name, outcome, number = random.choice(names), random.choice(_OUTCOMES), random.randrange(10**9)
        result = random.choice(["done", *sorted(policy.results(name))])
        calls.append(ToolCall(f"c{number}", name, f'{{"n": {number}}}'))
        answers.append(ToolMessage(f"c{number}", result, outcome))
        words.append(f"{name}:{outcome}")
    reply = AssistantMessage(tool_calls=tuple(calls))
    return _History((*history.messages, reply, *answers), (*history.path, "+".join(words)))


def _answers(policy: Policy, names: list[str], state: State) -> _Answers:
    try:
        choice = policy(state)
    except PolicyContradiction:
        choice = None
    calls = [
        Call(name, {"n": at}, ToolCall(f"judged{at}", name, f'{{"n": -{at + 1}}}')) for at, name in enumerate(names)
    ]
    beside = [replace(state, pending=pending) for pending in [(), *[(call,) for call in calls]]]
    return _Answers(choice, tuple([policy.judge(call, pending) for pending in beside for call in calls]))


def _check_frozen(policy: Policy) -> None:
    __tracebackhide__ = True
    for name in [*vars(policy), "anything"]:
        try:
            setattr(policy, name, None)
        except AttributeError:
            continue
        raise AssertionError(f"{policy!r} is not frozen: {name} can be set; inherit from Policy, and declare fields")


def _check_answers(policy: Policy, names: list[str], history: _History) -> None:
    __tracebackhide__ = True
    state = State.of(history.messages)
    answers, memory = _answers(policy, names, state), policy.memory(state)
    hash(memory)
    if answers != _answers(policy, names, state) or memory != policy.memory(state):
        raise AssertionError(f"{policy!r} is not pure: asked twice {history}, it says two things")
    choice = answers.choice
    if choice is not None and choice.mode in ("auto", "none") and not policy.can_answer:
        raise AssertionError(f"can_answer of {policy!r} is false, and {history} it chooses {choice}")
    if choice is not None and choice.mode == "none" and not policy.silences:
        raise AssertionError(f"silences of {policy!r} is false, and {history} it chooses none")
    for other in (auto, none, required, force(names[0])):
        joined = _answers(policy & other, names, state)
        looser = [
            joined.choice is not None
            and choice is not None
            and joined.choice.permits(name)
            and not choice.permits(name)
            for name in names
        ] + [
            _STRICT.index(verdict.kind) < _STRICT.index(alone.kind)
            for verdict, alone in zip(joined.verdicts, answers.verdicts, strict=True)
        ]
        if any(looser):
            raise AssertionError(f"{policy!r} & {other!r} allows more than {policy!r} {history}")


def _check_copy(policy: Policy, names: list[str], histories: list[_History]) -> None:
    __tracebackhide__ = True
    try:
        pickled = pickle.dumps(policy)
    except (pickle.PicklingError, AttributeError, TypeError):  # a lambda, say
        return
    copy = pickle.loads(pickled)  # noqa: S301 (our own bytes)
    states = [State.of(history.messages) for history in histories]
    same = [_answers(copy, names, state) == _answers(policy, names, state) for state in states]
    if copy != policy or repr(copy) != repr(policy) or not all(same):
        raise AssertionError(f"a pickled copy of {policy!r} is another policy: {copy!r}")


def _check_memory(policy: Policy, names: list[str], histories: list[_History]) -> None:
    __tracebackhide__ = True
    random = Random(2)  # noqa: S311 (as above)
    first: dict[object, _History] = {}
    for history in histories:
        state = State.of(history.messages)
        like = first.setdefault(policy.memory(state), history)
        following = (
            [_followed(_History((), ()), policy, names, random) for _ in range(3)] if like is not history else []
        )
        for more in [_History((), ()), *following]:
            one, other = (State.of((*begun.messages, *more.messages)) for begun in (like, history))
            if policy.memory(one) != policy.memory(other) or _answers(policy, names, one) != _answers(
                policy, names, other
            ):
                then = f", and then {', '.join(more.path)}," if more.path else ""
                raise AssertionError(
                    f"memory of {policy!r} leaves out what it reads: it is the same {like} and {history}, "
                    f"but what the policy says{then} is not"
                )
