"""For the documentation: a class that is `@frozen` is shown with its parameters, as a dataclass is."""

import griffe

_DATACLASSES = griffe.Module("dataclasses")
_DATACLASSES.set_member("dataclass", griffe.Function("dataclass"))


class FrozenValues(griffe.Extension):
    """Has griffe read `@frozen` as `@dataclass`, which it knows."""

    def on_class_members(self, *, cls: griffe.Class, **_: object) -> None:
        """Put one decorator in the place of the other."""
        for decorator in cls.decorators:
            called = decorator.value
            name = called.function if isinstance(called, griffe.ExprCall) else called
            if isinstance(name, griffe.ExprName) and name.name == "frozen":
                dataclass = griffe.ExprName("dataclass", parent=_DATACLASSES)
                if isinstance(called, griffe.ExprCall):
                    called.function = dataclass
                else:
                    decorator.value = dataclass
