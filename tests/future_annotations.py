"""Functions whose annotations are texts: `from __future__ import annotations` is in force here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from agentkit.tools.tool import Tool


class City(BaseModel):
    name: str


def book(city: City, days: Annotated[int, Field(ge=1)] = 2, on: date | None = None) -> object:
    return city, days, on


def later(place: Place) -> object:
    return place


class Place(BaseModel):
    name: str
    inside: Place | None = None


class Counter(BaseModel):
    words: list[str]

    def count(self, other: Counter) -> object:
        return other


def of_local_types() -> tuple[Tool, type[object]]:
    @dataclass
    class Point:
        x: int

    @dataclass
    class Line:
        start: Point
        end: Point

    def draw(line: Line) -> object:
        return line

    return Tool.of(draw), Line


def of_shadowing_type() -> Tool:
    class City(BaseModel):  # pyright: ignore[reportUnusedClass] (the text below names it)
        code: int

    def visit(city: City) -> object:
        return city

    return Tool.of(visit)
