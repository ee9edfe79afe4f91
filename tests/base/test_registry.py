"""The registry: names from this package and from installed ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import Registry

GROUP = "kd_yolo.tests"
Install = Callable[..., None]


class Base:
    """What all classes of the registry are."""

    def __init__(self, size: int = 1) -> None:
        self.size = size


@pytest.fixture
def registry() -> Registry[Base]:
    made: Registry[Base] = Registry("thing", Base, group=GROUP)
    made.register("own")(type("Own", (Base,), {}))
    return made


@pytest.fixture
def install(install_package: Install) -> Install:
    """A package with one module, whose classes derive from ``Base``, and its entry points."""

    def make(name: str, source: str, **entries: str) -> None:
        source = f"from {__name__} import Base\n{source}"
        install_package(name, {f"{name}.py": source}, {GROUP: {k: f"{name}:{v}" for k, v in entries.items()}})

    return make


def test_a_class_of_an_installed_package_is_imported_when_it_is_asked_for(
    registry: Registry[Base], install: Install
) -> None:
    install("things_one", "class Big(Base): pass", big="Big")
    assert registry.names() == ["big", "own"]
    assert "big" in registry
    assert "things_one" not in sys.modules
    made = registry.build("big", size=3)
    assert (type(made).__name__, made.size) == ("Big", 3)
    assert registry.name_of(type(made)) == "big"
    assert registry.get("big") is type(made)
    assert registry.problems() == {}
    with pytest.raises(ConfigError, match=r"thing 'big' has no parameter 'siez'. Did you mean 'size'"):
        registry.build("big", siez=1)
    with pytest.raises(ConfigError, match=r"unknown thing 'bag'. Did you mean 'big'\? Known: big, own."):
        registry.get("bag")


def test_a_broken_package_breaks_nothing_but_its_own_name(registry: Registry[Base], install: Install) -> None:
    install("things_two", "raise RuntimeError('half installed')", broken="Big")
    install("things_three", "value = 3", number="value", gone="missing")
    assert registry.get("own").__name__ == "Own"
    assert registry.names() == ["broken", "gone", "number", "own"]
    with pytest.raises(
        ConfigError,
        match=r"'broken' of the package things_two \(kd_yolo.tests = things_two:Big\) cannot be loaded: RuntimeError:"
        r" half installed. Mend or uninstall it.",
    ):
        registry.get("broken")
    with pytest.raises(ConfigError, match=r"things_three:value\) is no thing: expected a class derived from .*Base"):
        registry.get("number")
    assert set(registry.problems()) == {"broken", "gone", "number"}


def test_no_package_takes_the_name_of_an_own_class(registry: Registry[Base], install: Install) -> None:
    install("things_four", "class Other(Base): pass", own="Other")
    assert registry.get("own").__name__ == "Own"
    assert "is not used: kd-yolo has a thing of that name" in registry.problems()["own"]
    assert "things_four" not in sys.modules


def test_without_a_group_packages_are_not_looked_at(install: Install) -> None:
    install("things_five", "class Big(Base): pass", big="Big")
    closed: Registry[Base] = Registry("thing", Base)
    assert closed.names() == []
    assert "big" not in closed
    assert ["a list"] not in closed


def test_packages_are_gone_after_a_test(registry: Registry[Base]) -> None:
    assert registry.names() == ["own"]
    assert not [path for path in sys.path if Path(path).name.startswith("site-of-")]
