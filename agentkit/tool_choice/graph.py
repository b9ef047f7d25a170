"""A policy's states as a drawing: text for Mermaid and Graphviz, and SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.tool_choice.drawing import Place, draw

_MERMAID = str.maketrans({'"': "#quot;", "\n": " ", "<": "#lt;", ">": "#gt;", "#": "#35;"})
_DOT = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": " "})


@dataclass(frozen=True, slots=True)
class Graph:
    """A policy as a state machine.

    Attributes:
        places: The states, the beginning first.
        moves: From which state to which, and the calls that lead there.
    """

    places: Sequence[Place]
    moves: Sequence[tuple[int, int, str]]

    def text(self) -> str:
        """Return the graph as a list: each state, and the calls that lead from it to another.

        ```text
        0: search
           search:ok → 1
        1: auto, may answer
        ```
        """
        lines: list[str] = []
        for number, place in enumerate(self.places):
            notes = [note for note, holds in (("may answer", place.answers), ("wrong", place.wrong)) if holds]
            lines.append(f"{number}: {', '.join([place.label, *notes])}")
            lines += [f"   {label} → {end}" for start, end, label in self.moves if start == number]
        return "\n".join(lines) + "\n"

    def mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart."""
        lines = ["flowchart TD"]
        for number, place in enumerate(self.places):
            left, right = ("([", "])") if place.answers else ("[", "]")
            lines.append(f'    s{number}{left}"{place.label.translate(_MERMAID)}"{right}')
            lines += [f"    style s{number} stroke:#c92a2a,stroke-width:3px"] if place.wrong else []
        lines += [f'    s{start} -->|"{label.translate(_MERMAID)}"| s{end}' for start, end, label in self.moves]
        return "\n".join(lines) + "\n"

    def dot(self) -> str:
        """Return the graph in Graphviz's language."""
        lines = [
            "digraph policy {",
            '    pad=0.2; nodesep=0.6; node [fontname="Helvetica,Arial,sans-serif" shape=box margin="0.25,0.1"];',
        ]
        lines.append('    edge [fontname="Helvetica,Arial,sans-serif" fontsize=11];')
        for number, place in enumerate(self.places):
            style = ' style="rounded"' if place.answers else ""
            colour = ' color="#c92a2a" penwidth=3' if place.wrong else ""
            lines.append(f'    s{number} [label="{place.label.translate(_DOT)}"{style}{colour}];')
        lines += [f'    s{start} -> s{end} [label="{label.translate(_DOT)}"];' for start, end, label in self.moves]
        return "\n".join([*lines, "}"]) + "\n"

    def svg(self) -> str:
        """Return the graph as SVG."""
        return draw(self.places, self.moves)
