from agentkit.tool_choice.drawing import Place
from agentkit.tool_choice.graph import Graph

GRAPH = Graph(
    [Place('"a" <b> #', answers=False, wrong=True), Place("auto", answers=True, wrong=False)], [(0, 1, 'a:"ok"')]
)


def test_the_text_for_readers() -> None:
    assert GRAPH.text() == '0: "a" <b> #, wrong\n   a:"ok" → 1\n1: auto, may answer\n'


def test_the_text_for_mermaid() -> None:
    assert GRAPH.mermaid() == (
        "flowchart TD\n"
        '    s0["#quot;a#quot; #lt;b#gt; #35;"]\n'
        "    style s0 stroke:#c92a2a,stroke-width:3px\n"
        '    s1(["auto"])\n'
        '    s0 -->|"a:#quot;ok#quot;"| s1\n'
    )


def test_the_text_for_graphviz() -> None:
    lines = GRAPH.dot().splitlines()
    assert lines[0] == "digraph policy {"
    assert lines[3:] == [
        '    s0 [label="\\"a\\" <b> #" color="#c92a2a" penwidth=3];',
        '    s1 [label="auto" style="rounded"];',
        '    s0 -> s1 [label="a:\\"ok\\""];',
        "}",
    ]


def test_the_svg() -> None:
    assert GRAPH.svg().startswith("<svg ")
