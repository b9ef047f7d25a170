from collections.abc import Sequence
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.tool_choice import analyse, budget, sequence
from agentkit.tool_choice.drawing import Place, draw

SVG = "{http://www.w3.org/2000/svg}"
LABELS = st.text(max_size=60)


@st.composite
def graphs(build: st.DrawFn) -> tuple[Sequence[Place], Sequence[tuple[int, int, str]]]:
    places = build(st.lists(st.builds(Place, LABELS, st.booleans(), st.booleans()), min_size=1, max_size=6))
    numbers = st.integers(0, len(places) - 1)
    moves = build(st.lists(st.tuples(numbers, numbers, LABELS), max_size=8, unique_by=lambda move: move[:2]))
    return places, moves


def rectangles(svg: str) -> list[tuple[float, float, float, float]]:
    found = ET.fromstring(svg).iter(f"{SVG}rect")  # noqa: S314 (our own)
    names = ("x", "y", "width", "height")
    return [(x, y, x + w, y + h) for x, y, w, h in ([float(rect.attrib[name]) for name in names] for rect in found)]


@settings(max_examples=40)
@given(graphs())
def test_no_state_covers_another(graph: tuple[Sequence[Place], Sequence[tuple[int, int, str]]]) -> None:
    places, moves = graph
    svg = draw(places, moves)
    root = ET.fromstring(svg)  # noqa: S314 (our own)
    boxes = rectangles(svg)
    assert len(boxes) == len(places)
    for at, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0
        assert top >= 0
        assert right <= float(root.attrib["width"])
        assert bottom <= float(root.attrib["height"])
        for other in boxes[at + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    arrows = [path for path in root.iter(f"{SVG}path") if "marker-end" in path.attrib]
    assert len(arrows) == len(moves)


def test_a_sequence_is_drawn_from_the_top_down() -> None:
    svg = analyse(sequence("a", "b") & budget(4), "ab").graph.svg()
    tops = [top for _, top, _, _ in rectangles(svg)]
    assert tops == sorted(tops)
    assert ">a:ok<" in svg or ">a<" in svg
    assert "#c92a2a" not in svg


def test_texts_stay_texts() -> None:
    svg = draw([Place("<script>\x00\u202e&", answers=True, wrong=True)], [])
    assert "&lt;script&gt;" in svg
    assert "\x00" not in svg
    assert "\u202e" not in svg
    assert "#c92a2a" in svg


def test_a_move_back_is_an_arc_at_the_side() -> None:
    svg = draw(
        [Place("a", answers=False, wrong=False), Place("b", answers=True, wrong=False)], [(0, 1, "x"), (1, 0, "back")]
    )
    (top, bottom), width = rectangles(svg), float(ET.fromstring(svg).attrib["width"])  # noqa: S314 (our own)
    assert top[3] < bottom[1]
    assert svg.count("stroke-dasharray") == 1
    assert width > max(top[2], bottom[2]) + 40


def test_more_states_than_can_be_read() -> None:
    places = [Place("auto", answers=True, wrong=False)] * 200
    svg = draw(places, [(at, at + 1, "a") for at in range(199)])
    assert svg.count("<rect") == 150
    dense = draw(places[:60], [(start, end, "a") for start in range(60) for end in range(60)])
    assert dense.count("marker-end") <= 500 < 60 * 60
    assert "and 50 more states" in svg
