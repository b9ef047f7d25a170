from agentkit.core.choice import ToolChoice
from agentkit.tool_choice import all_of, analyse, before_answer, budget, first, none, prerequisite, required, sequence
from agentkit.tool_choice.report import Contradiction, Node, Report, steps_to_answer, stuck_in

AUTO, CALL = ToolChoice(), ToolChoice("required")
NODES = (
    Node(0, (), CALL, answers=False, memory=(), moves=(("a:ok", 1), ("a:error", 0), ("b:ok", 3))),
    Node(1, ("a:ok",), CALL, answers=False, memory=(), moves=(("a:ok", 2),)),
    Node(2, ("a:ok", "a:ok"), AUTO, answers=True, memory=()),
    Node(3, ("b:ok",), CALL, answers=False, memory=(), moves=(("b:ok", 3), ("a:ok", 4))),
    Node(4, ("b:ok", "a:ok"), None, answers=False, memory=()),
)


def test_how_far_an_answer_is() -> None:
    assert steps_to_answer(NODES) == {2: 0, 1: 1, 0: 2}
    assert stuck_in(NODES) == (("b:ok",),)
    unexplored = [*NODES[:4], NODES[4]._replace(choice=AUTO, moves=(("a:ok", None),))]
    assert steps_to_answer(unexplored) == {2: 0, 1: 1, 4: 1, 0: 2, 3: 2}
    assert stuck_in(unexplored) == ()


def test_the_text() -> None:
    wrong = Contradiction(("b:ok", "a:ok"), "x and y")
    assert str(Report(NODES, frozenset({"c", "d"}), (wrong,), (("b:ok",),), None, ("z reads w",))).splitlines() == [
        "5 states",
        "dead: c, d can never be called",
        "contradiction after b:ok, then a:ok: x and y",
        "stuck after b:ok: no answer can be reached",
        "not analysed: z reads w; it is taken to allow everything there",
    ]
    cut = Report(NODES[:1], frozenset(), (wrong,) * 7, ((),), 1, ())
    assert str(cut).splitlines()[0] == "more than 1 state: all histories of up to 1 call were explored"
    assert str(cut).splitlines()[-2:] == ["… and 2 more", "stuck at the beginning: no answer can be reached"]
    assert (cut.complete, cut.sound) == (False, False)


def test_the_graph() -> None:
    drawn = analyse(sequence("a", "b", then=none), "ab").graph.mermaid()
    assert 's0["a"]' in drawn
    assert 's0 -->|"a:ok"| s1' in drawn
    assert 's2(["none"])' in drawn
    assert "a:error" not in drawn  # it changes nothing
    assert '|"a"|' in analyse(budget(1), "a").graph.mermaid()
    assert '|"b:ok, a"|' not in analyse(budget(2), "ab").graph.mermaid()
    assert [label for *_, label in analyse(budget(2), "ab").graph.moves] == ["a, b", "a, b"]
    two = analyse(first(required, then=none) & all_of("a", "b") & budget(4), "ab").graph
    assert "a:ok+b:ok" in [label for *_, label in two.moves]
    assert "#c92a2a" not in drawn
    assert "#c92a2a" in analyse(sequence("a") & prerequisite("a", "b"), "ab").graph.mermaid()
    cut = analyse(before_answer("a") & budget(5), "a", most=2)
    assert len(cut.graph.places) == 2
    assert max(end for _, end, _ in cut.graph.moves) == 1
