"""Packages whose names are loaded when they are first asked for: what a program does not name costs it nothing."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def face(package: str, homes: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Give `__getattr__` and `__dir__` of a package whose names are loaded when they are first asked for.

    Its `__init__.pyi` says the same to type checkers and readers, as ordinary imports.

    Args:
        package: The package.
        homes: The names that it shows, by the modules in which they are defined.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    shown = sorted(home_of)

    def get(name: str) -> object:
        if name == "__all__":
            return shown
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        found: object = getattr(import_module(home_of[name]), name)
        setattr(sys.modules[package], name, found)  # found at once the next time
        return found

    return get, lambda: [*vars(sys.modules[package]), *shown]
