"""Policies at work, over a real socket: what is sent, what is run, and how a run ends."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable
from typing import Any

import pytest

from agentkit import (
    Agent,
    AgentkitError,
    AssistantMessage,
    ChatClient,
    ConfigurationError,
    Event,
    LimitReached,
    Limits,
    Message,
    PolicyContradiction,
    Result,
    StepFinished,
    Tool,
    ToolCall,
    ToolChoice,
    ToolChoiceIgnored,
    ToolFinished,
    ToolMessage,
    UserMessage,
    tool,
)
from agentkit.agent.agent import Agent as AgentClass
from agentkit.core.state import Step
from agentkit.tool_choice import (
    Policy,
    PolicyLike,
    auto,
    before_answer,
    budget,
    first,
    fixed,
    force,
    no_repeat,
    none,
    only,
    prerequisite,
    required,
    rule,
    sequence,
    until_called,
    when,
)
from tests.endpoint import Endpoint, Json, Reply, calls, serving, text
from tests.scripted import Scripted, called, said
from tests.tool_choice import late

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Policies know no event loop."""
    return "asyncio"


ALL = ("search", "fetch", "send", "pay")
DONE = text("Done.")


class Desk:
    """Four tools that say when they are entered; those that are to fail do so once."""

    def __init__(self, *failing: str) -> None:
        self.log: list[Step | str] = []
        self.failing = list(failing)
        self.tools = [self._tool(name) for name in ALL]

    def _tool(self, name: str) -> Tool:
        async def function(query: str = "") -> str:
            self.log.append(name)
            if name in self.failing:
                self.failing.remove(name)
                raise ValueError("not now")
            return f"{name} is done"

        return Tool.of(function, name=name)

    @property
    def entered(self) -> list[str]:
        return [entry for entry in self.log if isinstance(entry, str)]

    @property
    def steps(self) -> list[Step]:
        return [entry for entry in self.log if isinstance(entry, Step)]

    def observe(self, event: Event) -> None:
        if isinstance(event, StepFinished):
            self.log.append(event.step)

    def agent(self, endpoint: Endpoint, tool_choice: PolicyLike = "auto", **options: Any) -> AgentClass:
        client = ChatClient("m", base_url=endpoint.url, api_key="sk-test")
        return Agent(client, tools=self.tools, tool_choice=tool_choice, observers=[self.observe], **options)

    def scripted(self, model: Scripted, tool_choice: PolicyLike = "auto", **options: Any) -> AgentClass:
        return Agent(model, tools=self.tools, tool_choice=tool_choice, observers=[self.observe], **options)

    def check(self) -> None:
        """Hold each tool that was entered against the choice before it."""
        step = None
        for entry in self.log:
            if isinstance(entry, Step):
                step = entry
                continue
            assert step is not None
            assert step.violation is None
            assert step.choice.mode != "none"
            assert step.choice.mode != "tool" or entry == step.choice.tool
            assert step.choice.offers(entry)


def go(*names: str) -> Json:
    return calls(*[(name, {}) for name in names])


def sent(endpoint: Endpoint) -> list[tuple[str, str]]:
    """The choice and the tools of each request, in a word each."""
    found: list[tuple[str, str]] = []
    for request in endpoint.requests:
        choice = request["tool_choice"]
        names = [spec["function"]["name"] for spec in request["tools"]]
        word = choice if isinstance(choice, str) else f"{choice['type']} {choice['function']['name']}"
        found.append((word, "all" if names == list(ALL) else " ".join(names)))
    return found


def forced(name: str) -> tuple[str, str]:
    return (f"function {name}", "all")


AUTO, NONE, REQUIRED = ("auto", "all"), ("none", "all"), ("required", "all")

RUNS: list[tuple[PolicyLike, list[Reply], list[tuple[str, str]]]] = [
    ("auto", [go("search"), DONE], [AUTO, AUTO]),
    (none, [DONE], [NONE]),
    (required & budget(1), [go("search"), DONE], [REQUIRED, NONE]),
    (first("required"), [go("search"), DONE], [REQUIRED, AUTO]),
    (first(force("search")), [go("search"), go("fetch"), DONE], [forced("search"), AUTO, AUTO]),
    (first("search", then="none"), [go("search"), DONE], [forced("search"), NONE]),
    (
        sequence("search", "fetch", "send"),
        [go("search"), go("fetch"), go("send"), DONE],
        [forced("search"), forced("fetch"), forced("send"), AUTO],
    ),
    (until_called("send", "required"), [go("search"), go("send"), DONE], [REQUIRED, REQUIRED, AUTO]),
    (before_answer("send"), [go("search"), go("search", "send"), DONE], [REQUIRED, REQUIRED, AUTO]),
    (
        prerequisite("pay", "search", "fetch"),
        [go("search"), go("fetch"), go("pay"), DONE],
        [("auto", "search fetch send"), ("auto", "search fetch send"), AUTO, AUTO],
    ),
    (only("fetch", "search"), [go("search"), DONE], [("auto", "search fetch")] * 2),
    (
        only("search", "fetch", policy=first("required")),
        [go("fetch"), DONE],
        [("required", "search fetch"), ("auto", "search fetch")],
    ),
    (budget(3), [go("search"), go("fetch", "send"), DONE], [AUTO, AUTO, NONE]),
    (budget(1), [go("search", "fetch"), DONE], [AUTO, NONE]),
    (
        no_repeat(2),
        [go("search"), go("search"), go("search"), go("fetch"), DONE],
        [AUTO, AUTO, AUTO, ("auto", "fetch send pay"), AUTO],
    ),
    (when(late, "none", "required"), [go("search"), go("search"), DONE], [REQUIRED, REQUIRED, NONE]),
    (
        before_answer("send") & prerequisite("send", "search"),
        [go("search"), go("send"), DONE],
        [("required", "search fetch pay"), REQUIRED, AUTO],
    ),
    (rule(lambda state: "none" if late(state) else "auto"), [go("search"), go("fetch"), DONE], [AUTO, AUTO, NONE]),
    (lambda state: sequence("search"), [go("search"), DONE], [forced("search"), AUTO]),
    (fixed(ToolChoice(withheld=frozenset({"pay"}))), [DONE], [("auto", "search fetch send")]),
    # Where nothing is left to offer, the model can only answer.
    (only("search") & only("fetch"), [DONE], [NONE]),
]


@pytest.mark.parametrize(("policy", "replies", "requests"), RUNS)
async def test_what_is_sent(policy: PolicyLike, replies: list[Reply], requests: list[tuple[str, str]]) -> None:
    desk = Desk()
    with serving(*replies) as endpoint:
        result = await desk.agent(endpoint, policy).run("go")
    assert sent(endpoint) == requests
    assert (result.output, result.stop, result.violations) == ("Done.", "answer", 0)
    assert list(result.steps) == desk.steps
    desk.check()


@pytest.mark.parametrize(("policy", "replies", "requests"), RUNS[4:10])
async def test_what_is_sent_when_streamed(
    policy: PolicyLike, replies: list[Reply], requests: list[tuple[str, str]]
) -> None:
    desk = Desk()
    with serving(*replies) as endpoint:
        async with desk.agent(endpoint, policy).stream("go") as run:
            async for _ in run:
                pass
    assert sent(endpoint) == requests
    assert run.result.output == "Done."
    desk.check()


@pytest.mark.parametrize("policy", ["required", "search"])
async def test_what_is_sent_until_a_tool_ends_the_run(policy: str) -> None:
    desk = Desk("search")
    with serving(go("search")) as endpoint:
        result = await desk.agent(endpoint, policy, stop_at="search").run("go")
    assert sent(endpoint) == ([REQUIRED] * 2 if policy == "required" else [forced("search")] * 2)
    assert (result.output, result.stop) == ("search is done", "tool")


async def test_three_steps_in_order_with_one_that_fails_once() -> None:
    desk = Desk("fetch")
    with serving(go("search"), go("fetch"), go("fetch"), go("send"), DONE) as endpoint:
        await desk.agent(endpoint, sequence("search", "fetch", "send")).run("go")
    assert sent(endpoint) == [forced("search"), forced("fetch"), forced("fetch"), forced("send"), AUTO]
    assert desk.entered == ["search", "fetch", "fetch", "send"]


@pytest.mark.parametrize("name", ["functions.search", "Search"])
async def test_a_call_by_another_name_is_a_call_of_the_tool(name: str) -> None:
    desk = Desk()
    with serving(go(name), DONE) as endpoint:
        await desk.agent(endpoint, sequence("search")).run("go")
    assert sent(endpoint) == [forced("search"), AUTO]
    with serving(go(name), DONE) as endpoint:
        result = await desk.agent(endpoint, stop_at="search").run("go")
    assert result.stop == "tool"


def outcomes(result: Result[Any]) -> list[str]:
    return [message.outcome for message in result.messages if isinstance(message, ToolMessage)]


# ---- endpoints that do as they please


def obedient(request: Json) -> Json:
    choice = request["tool_choice"]
    if isinstance(choice, dict):
        return go(choice["function"]["name"])
    return go(request["tools"][0]["function"]["name"]) if choice == "required" else DONE


def another(request: Json) -> Json:
    choice = request["tool_choice"]
    wanted = choice["function"]["name"] if isinstance(choice, dict) else None
    return go(next(name for name in ALL if name != wanted))


def not_offered(request: Json) -> Json:
    offered = [spec["function"]["name"] for spec in request["tools"]]
    return go(*[name for name in ALL if name not in offered] or ALL)


def alternating(request: Json) -> Json:
    return obedient(request) if len(request["messages"]) % 4 < 2 else another(request)


def several(request: Json) -> Json:
    choice = request["tool_choice"]
    return go(*[choice["function"]["name"]] * 2) if isinstance(choice, dict) else go(*ALL, *ALL)


DISOBEDIENT: dict[str, Callable[[Json], Json]] = {
    "answers in text": lambda request: DONE,
    "calls another tool": another,
    "calls whatever was chosen": lambda request: go("search"),
    "calls what is withheld": not_offered,
    "alternates": alternating,
    "calls several at once": several,
    "calls what does not exist": lambda request: go("teleport"),
    "calls by other names": lambda request: go("functions.pay", "Search"),
    "obeys": obedient,
}
POLICIES: list[PolicyLike] = [
    *[policy for policy, _, _ in RUNS],
    before_answer("pay") & budget(2) & no_repeat(1),
    sequence("pay", "pay", then=only("search", policy=budget(4))),
    required & (lambda state: none if late(state) else auto),
]


NO_OPTIONS: dict[str, Any] = {}


async def end_of(agent: AgentClass, *, streamed: bool = False) -> Result[str] | AgentkitError:
    """Run, and give the result or what ended the run; only the four ends that a run may have are taken."""
    try:
        if not streamed:
            return await agent.run("go")
        async with agent.stream("go") as run:
            async for _ in run:
                pass
    except (ToolChoiceIgnored, PolicyContradiction, LimitReached) as end:
        return end
    return run.result


@pytest.mark.parametrize("form", DISOBEDIENT)
@pytest.mark.no_cover
async def test_every_policy_ends_and_nothing_forbidden_runs(form: str) -> None:
    with serving(DISOBEDIENT[form]) as endpoint:
        for policy in POLICIES:
            for options in (NO_OPTIONS, {"stop_at": "pay", "max_corrections": 1}):
                desk = Desk("fetch", "search")
                before = len(endpoint.requests)
                agent = desk.agent(endpoint, policy, limits=Limits(steps=7), **options)
                ended = await end_of(agent)
                if isinstance(ended, Result):
                    assert ended.violations == sum(step.violation is not None for step in desk.steps)
                else:
                    assert ended.partial is not None
                assert len(endpoint.requests) - before <= 7
                desk.check()


@pytest.mark.parametrize("form", ["answers in text", "calls another tool"])
@pytest.mark.parametrize("policy", [first("send"), sequence("send"), force("send") & budget(1)])
async def test_a_forced_call_is_enforced(form: str, policy: Policy) -> None:
    desk = Desk()
    with serving(DISOBEDIENT[form]) as endpoint, pytest.raises(ToolChoiceIgnored) as caught:
        await desk.agent(endpoint, policy).run("go")
    assert sent(endpoint) == [forced("send")] * 3
    assert desk.entered == []
    assert caught.value.choice == ToolChoice("tool", "send")
    assert caught.value.policy == f"{policy!r} & no_repeat(5)"


async def test_each_of_several_calls_of_a_forced_tool_runs() -> None:
    desk = Desk()
    with serving(go("send", "send", "pay"), DONE) as endpoint:
        result = await desk.agent(endpoint, first("send")).run("go")
    assert sent(endpoint) == [forced("send"), AUTO]
    assert (desk.entered, outcomes(result), result.violations) == (["send", "send"], ["ok", "ok", "refused"], 0)


async def test_none_is_enforced() -> None:
    desk = Desk()
    with serving(go("search"), go("teleport"), DONE) as endpoint:
        result = await desk.agent(endpoint, none).run("go")
    assert sent(endpoint) == [NONE] * 3
    assert (result.output, result.violations, desk.entered) == ("Done.", 1, [])
    assert "answer without calling a tool" in answers(result)[0]


async def test_what_is_withheld_is_refused_and_what_came_with_it_runs() -> None:
    desk = Desk()
    with serving(go("search", "pay"), go("pay"), DONE) as endpoint:
        result = await desk.agent(endpoint, prerequisite("pay", "search")).run("go")
    assert desk.entered == ["search", "pay"]
    assert (outcomes(result), result.violations) == (["ok", "refused", "ok"], 0)


async def test_before_answer_holds_where_the_endpoint_ignores_the_choice() -> None:
    desk = Desk()
    with serving(text("42, surely."), go("search"), text("42!"), go("send"), DONE) as endpoint:
        result = await desk.agent(endpoint, before_answer("send")).run("go")
    assert sent(endpoint) == [*[REQUIRED] * 4, AUTO]
    assert (result.output, result.violations, desk.entered) == ("Done.", 2, ["search", "send"])
    assert [
        message.content for message in result.messages if isinstance(message, UserMessage) and not message.note
    ] == ["go"]


async def test_a_verification_that_fails_is_asked_for_again() -> None:
    desk = Desk("send")
    with serving(go("send"), text("No need."), go("send"), DONE) as endpoint:
        result = await desk.agent(endpoint, before_answer("send")).run("go")
    assert (result.output, desk.entered) == ("Done.", ["send", "send"])
    assert sent(endpoint) == [REQUIRED, REQUIRED, REQUIRED, AUTO]


@pytest.mark.parametrize("corrections", [0, 1, 2, 4])
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_an_ignored_choice_carries(corrections: int, streamed: bool) -> None:
    desk = Desk()
    with serving(text("I would rather talk.")) as endpoint:
        agent = desk.agent(endpoint, first("search"), max_corrections=corrections, max_repeats=None)
        error = await end_of(agent, streamed=streamed)
    assert isinstance(error, ToolChoiceIgnored)
    assert len(endpoint.requests) == corrections + 1
    assert error.reply == AssistantMessage("I would rather talk.")
    assert (error.choice, error.policy) == (ToolChoice("tool", "search"), "first(force('search'))")
    assert error.partial is not None
    (question, *rest) = error.partial.messages
    assert question == UserMessage("go")
    assert rest[::2] == [error.reply] * (corrections + 1)
    assert all(isinstance(note, UserMessage) and note.note for note in rest[1::2])
    assert error.partial.usage.requests == corrections + 1
    assert [step.violation and step.violation.kind for step in desk.steps] == ["tool_choice"] * (corrections + 1)


async def test_corrections_are_counted_in_a_row() -> None:
    desk = Desk()
    with serving(DONE, DONE, go("search"), DONE, DONE, go("fetch"), DONE) as endpoint:
        result = await desk.agent(endpoint, sequence("search", "fetch")).run("go")
    assert (result.violations, desk.entered, len(endpoint.requests)) == (4, ["search", "fetch"], 7)


async def test_a_run_in_words() -> None:
    desk = Desk("search")
    again = calls(("search", {"query": "rain"}), content="Once more.", ids=["call_2"])
    with serving(text("It is raining."), go("search"), again, DONE) as endpoint:
        result = await desk.agent(endpoint, sequence("search"), max_repeats=None).run("go")
    assert result.explain() == (
        "1. search (by sequence('search'))\n"
        "   said It is raining.\n"
        "   rejected: it answered where search must be called; asked again\n"
        "2. search (by sequence('search'))\n"
        "   called search({})\n"
        "   error: ValueError: not now\n"
        "3. search (by sequence('search'))\n"
        "   said Once more.\n"
        '   called search({"query": "rain"})\n'
        "   ok: search is done\n"
        "4. auto (by sequence('search'))\n"
        "   said Done.\n"
        "Ended with an answer after 4 requests, 60 tokens."
    )


# ---- contradictions and limits


async def test_a_contradiction_ends_the_run_and_keeps_what_it_had() -> None:
    desk = Desk()
    with serving(go("search")) as endpoint, pytest.raises(PolicyContradiction) as caught:
        await desk.agent(endpoint, before_answer("send") & budget(2)).run("go")
    assert desk.entered == ["search", "search"]
    assert caught.value.partial is not None
    assert len(caught.value.partial.messages) == 5


async def test_what_a_rule_names_is_checked_when_it_does() -> None:
    with serving(DONE) as endpoint:
        with pytest.raises(PolicyContradiction, match="teleport"):
            await Desk().agent(endpoint, lambda state: "teleport").run("go")
        with pytest.raises(PolicyContradiction):
            await Agent(ChatClient("m", base_url=endpoint.url), tool_choice=lambda state: "required").run("go")
    assert endpoint.requests == []


async def test_a_policy_that_never_lets_go_is_ended_by_the_limit() -> None:
    desk = Desk()
    with (
        serving(lambda request: calls(("search", {"query": str(len(request["messages"]))}))) as endpoint,
        pytest.raises(LimitReached),
    ):
        await desk.agent(endpoint, lambda state: "required", limits=Limits(steps=4)).run("go")
    assert len(endpoint.requests) == 4


# ---- tools that end the run


@tool
def submit(text: str) -> dict[str, str]:
    """Hand in the work."""
    if not text:
        raise ValueError("nothing to hand in")
    return {"handed in": text}


@tool(name="give_up")
def surrender() -> str:
    """Stop."""
    return "gave up"


@pytest.mark.parametrize("stop_at", [submit, "submit", Tool.of(submit), [submit, surrender], ("submit", "give_up")])
async def test_a_tool_ends_the_run_with_its_result(stop_at: Any) -> None:
    with serving(calls(("submit", {"text": "a poem"}))) as endpoint:
        agent = Agent(
            ChatClient("m", base_url=endpoint.url), tools=[submit, surrender], tool_choice="required", stop_at=stop_at
        )
        result = await agent.run("go")
    assert (result.output, result.stop, len(endpoint.requests)) == ('{"handed in":"a poem"}', "tool", 1)
    assert isinstance(result.messages[-1], ToolMessage)
    assert result.explain().splitlines()[-1] == "Ended with a tool's result after 1 request, 15 tokens."


async def test_a_tool_that_fails_does_not_end_the_run() -> None:
    with serving(
        calls(("submit", {"text": ""})), calls(("submit", {})), calls(("give_up", {}), ("submit", {"text": "x"}))
    ) as endpoint:
        agent = Agent(
            ChatClient("m", base_url=endpoint.url),
            tools=[submit, surrender],
            tool_choice="required",
            stop_at=[submit, surrender],
        )
        result = await agent.run("go")
    assert (result.output, result.stop, len(endpoint.requests)) == ("gave up", "tool", 3)
    assert outcomes(result) == ["error", "error", "ok", "ok"]


async def test_a_refused_call_does_not_end_the_run() -> None:
    with serving(calls(("submit", {"text": "x"})), DONE) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), tools=[submit], tool_choice="none", stop_at="submit")
        result = await agent.run("go")
    assert (result.output, result.stop) == ("Done.", "answer")


async def test_a_run_that_a_tool_ended_goes_on_with_the_next_question() -> None:
    with serving(calls(("submit", {"text": "x"})), DONE) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), tools=[submit], stop_at=submit)
        result = await agent.run("go")
        more = await agent.run([*result.messages, UserMessage("and now?")])
    assert (more.output, more.stop) == ("Done.", "answer")


# ---- agents that are refused when they are made


def made(tool_choice: PolicyLike, **options: Any) -> AgentClass:
    return Agent(Scripted(said("unused")), tools=Desk().tools, tool_choice=tool_choice, **options)


@pytest.mark.parametrize(
    "policy",
    [
        required,
        force("search"),
        ToolChoice("tool", "search"),
        first("search", then="required"),
        sequence("search", then="fetch"),
        until_called("search", "fetch"),
        only("search", policy="required"),
        when(late, "required", "search"),
        required & auto & no_repeat(3) & before_answer("search"),
    ],
)
def test_a_policy_under_which_the_model_could_never_answer_is_refused(policy: PolicyLike) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made(policy)
    for fix in ("then=auto)", "until_called(tool, ", "& budget(8)", "stop_at=tool"):
        assert fix in str(caught.value)
    made(policy, stop_at=["search", "fetch"])


@pytest.mark.parametrize(
    "policy",
    [
        required & budget(8),
        required & when(late, "none"),
        required & (lambda state: none if late(state) else auto),
        until_called("search", "required"),
        before_answer("search"),
        lambda state: "required",
    ],
)
def test_a_policy_under_which_it_may_is_not(policy: PolicyLike) -> None:
    made(policy)


@pytest.mark.parametrize(
    ("policy", "options", "said"),
    [
        (
            first("serch"),
            {},
            "serch",
        ),
        (auto & only("search", "b", "a"), {}, "'a'"),
        (first(ToolChoice("tool", "typo")), {}, "typo"),
        (ToolChoice(withheld=frozenset({"typo"})), {}, "typo"),
        ("auto", {"stop_at": "finish"}, "finish"),
        ("auto", {"stop_at": [submit, "search"]}, "submit"),
    ],
)
def test_a_tool_that_the_agent_does_not_have_is_refused(policy: PolicyLike, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made(policy, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize("nonsense", [5, None, no_repeat, [force("search")]])
def test_what_is_no_policy_is_refused(nonsense: Any) -> None:
    with pytest.raises(ConfigurationError):
        made(nonsense)


# ---- repetition


def answers(result: Result[str]) -> list[str]:
    return [message.content for message in result.messages if isinstance(message, ToolMessage)]


async def test_a_loop_is_noted_then_stopped_and_released() -> None:
    desk = Desk()
    script = [go("search")] * 4 + [go("fetch"), go("search"), DONE]
    with serving(*script) as endpoint:
        result = await desk.agent(endpoint, no_repeat(2)).run("go")
    assert sent(endpoint) == [AUTO, AUTO, AUTO, *[("auto", "fetch send pay")] * 2, AUTO, AUTO]
    assert desk.entered == ["search", "search", "fetch", "search"]
    refusal = (
        "Not run: this same call came 2 times in a row already; use what you have, or do something else; "
        "call one of the tools fetch, pay, send, or answer."
    )
    assert answers(result) == [
        "search is done",
        "search is done\n\nNote: this same call came 2 times in a row. Use what you have, or do something else.",
        refusal,
        refusal,
        "fetch is done",
        "search is done",
    ]


async def test_a_loop_of_failing_calls_ends_after_three() -> None:
    @tool
    def look(city: str) -> str:
        raise ValueError(f"no weather for {city}")

    script = [called(("look", {"city": "Atlantis"}))] * 3
    result = await Agent(Scripted(*script, said("I do not know.")), tools=[look]).run("go")
    assert [message.outcome for message in result.messages if isinstance(message, ToolMessage)] == ["error"] * 3
    assert result.steps[-1].choice.mode == "none"
    assert "look is withheld until you do something else" in answers(result)[-1]


@pytest.mark.parametrize(("repeats", "ran"), [(5, 5), (2, 2), (None, 11)])
async def test_a_mild_guard_is_on_unless_it_is_switched_off(repeats: int | None, ran: int) -> None:
    desk = Desk()
    options: dict[str, Any] = {} if repeats == 5 else {"max_repeats": repeats}
    model = Scripted(called(("search", {})))
    with pytest.raises((ToolChoiceIgnored, LimitReached)) as caught:
        await desk.scripted(model, limits=Limits(steps=11), **options).run("go")
    assert desk.entered == ["search"] * ran
    assert isinstance(caught.value, LimitReached if repeats is None else ToolChoiceIgnored)


@pytest.mark.parametrize(
    ("options", "withheld"),
    [
        ({}, False),
        ({"repeatable": True}, False),
        ({"repeat_key": "order"}, True),
        ({"repeat_key": ("order",)}, True),
        ({"repeat_key": ("order", "page")}, False),
        ({"repeat_key": lambda given: given["order"]}, True),
    ],
)
async def test_a_tool_says_what_a_repeat_is(options: dict[str, Any], withheld: bool) -> None:
    @tool(**options)
    def poll(order: int, page: int) -> str:
        return "pending"

    def other() -> None:
        """Do something else."""

    model = Scripted(*[called(("poll", {"order": 7, "page": page})) for page in range(3)], said("Done."))
    await Agent(model, tools=[poll, other], tool_choice=no_repeat(2)).run("go")
    assert ("poll" not in [spec.name for spec in model.requests[-1].tools]) is withheld


async def test_what_a_repeat_key_cannot_read_does_not_end_the_run() -> None:
    @tool(repeat_key=lambda given: given["order"])
    def poll(order: int) -> str:
        return "pending"

    model = Scripted(called(("poll", {})), called(("poll", "[")), said("Done."))
    result = await Agent(model, tools=[poll]).run("go")
    assert (result.output, result.violations) == ("Done.", 0)


async def test_the_same_calls_in_one_reply_count_each() -> None:
    desk = Desk()
    model = Scripted(
        called(*[("search", {})] * 4), called(("search", {}), ("fetch", {})), called(("fetch", {})), said("Done.")
    )
    result = await desk.scripted(model, no_repeat(2)).run("go")
    assert ["Note: " in answer for answer in answers(result)[:4]] == [False, True, False, False]
    assert desk.entered == ["search"] * 2 + ["fetch"] * 2
    assert (outcomes(result), result.violations) == (["ok", "ok"] + ["refused"] * 3 + ["ok", "ok"], 0)


async def test_the_same_tool_with_other_arguments_is_no_repeat() -> None:
    desk = Desk()
    model = Scripted(called(*[("search", {"query": query}) for query in "aaab"]), said("Done."))
    result = await desk.scripted(model, no_repeat(2)).run("go")
    assert outcomes(result) == ["ok", "ok", "refused", "ok"]


async def test_a_call_that_was_denied_is_no_repeat_once_it_is_allowed() -> None:
    desk = Desk()
    model = Scripted(called(("pay", {}), ("fetch", {})), called(("pay", {})), said("Done."))
    result = await desk.scripted(model, prerequisite("pay", "fetch") & no_repeat(1)).run("go")
    assert (outcomes(result), desk.entered) == (["refused", "ok", "ok"], ["fetch", "pay"])


# ---- histories that go on


async def test_a_sequence_goes_on_from_the_messages_alone() -> None:
    desk = Desk("fetch")
    with serving(obedient) as endpoint:
        agent = desk.agent(endpoint, sequence("search", "fetch", "send"), limits=Limits(steps=2))
        with pytest.raises(LimitReached) as caught:
            await agent.run("go")
        assert caught.value.partial is not None
        result = await desk.agent(endpoint, sequence("search", "fetch", "send")).run(caught.value.partial.messages)
    assert sent(endpoint) == [forced("search"), forced("fetch"), forced("fetch"), forced("send"), AUTO]
    assert desk.entered == ["search", "fetch", "fetch", "send"]
    assert result.output == "Done."
    assert len(result.steps) == 3


async def test_open_calls_are_answered_before_the_policy_is_asked() -> None:
    desk = Desk()
    history: list[Message] = [UserMessage("go"), AssistantMessage(tool_calls=(ToolCall("c1", "search", "{}"),))]
    with serving(obedient) as endpoint:
        await desk.agent(endpoint, sequence("search", "fetch", then="none")).run(history)
    assert sent(endpoint) == [forced("fetch"), NONE]
    assert desk.entered == ["search", "fetch"]


async def test_a_sequence_begins_anew_with_the_next_question() -> None:
    desk = Desk()
    with serving(obedient) as endpoint:
        agent = desk.agent(endpoint, sequence("search"))
        result = await agent.run("go")
        await agent.run([*result.messages, UserMessage("again")])
    assert sent(endpoint) == [forced("search"), AUTO] * 2


async def test_a_note_in_a_kept_history_does_not_begin_a_turn() -> None:
    desk = Desk()
    with serving(go("search"), DONE, go("fetch"), DONE) as endpoint:
        agent = desk.agent(endpoint, sequence("search", "fetch"), max_corrections=0)
        with pytest.raises(ToolChoiceIgnored) as caught:
            await agent.run("go")
        assert caught.value.partial is not None
        await agent.run(caught.value.partial.messages)
    assert sent(endpoint) == [forced("search"), forced("fetch"), forced("fetch"), AUTO]


async def test_events_tell_of_violations_as_they_happen() -> None:
    seen: list[object] = []
    with serving(DONE, go("search"), DONE) as endpoint:
        async with Desk().agent(endpoint, first("search")).stream("go") as run:
            async for event in run:
                if isinstance(event, StepFinished):
                    seen.append(event.step.violation and event.step.violation.kind)
                elif isinstance(event, ToolFinished):
                    seen.append(event.call.name)
    assert seen == ["tool_choice", None, "search", None]
    assert run.result.violations == 1
