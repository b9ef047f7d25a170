import sys
from types import ModuleType

import pytest

from agentkit._lazy import face


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    module.__getattr__, module.__dir__ = face("shop", {"math": ("tau", "inf"), "string": ("digits",)})  # type: ignore[method-assign]
    return module


def test_a_name_is_found_in_its_home_and_kept(shop: ModuleType) -> None:
    assert "digits" not in vars(shop)
    assert shop.digits == "0123456789"
    assert vars(shop)["digits"] is shop.digits


def test_all_names_are_shown_before_they_are_loaded(shop: ModuleType) -> None:
    assert shop.__all__ == ["digits", "inf", "tau"]
    assert {"digits", "inf", "tau", "__name__"} <= set(dir(shop))
    assert "tau" not in vars(shop)


def test_another_name_is_not_there(shop: ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'shop' has no attribute 'pi'"):
        _ = shop.pi
    assert not hasattr(shop, "__path__")
