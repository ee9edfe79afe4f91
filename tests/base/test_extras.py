"""Optional packages: the table equals pyproject.toml, and a missing one is exit 5 with its install line everywhere."""

from __future__ import annotations

import ast
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.base.errors import MissingDependencyError
from kd_yolo.base.extras import EXTRAS, INCLUDES, OTHERS, check_installed, install_line, missing_of, require

ROOT = Path(__file__).resolve().parents[2]
OPTIONAL = {module: extra for extra, modules in EXTRAS.items() for module in modules}
LEFT_OUT = {"dev", "all"}  # not of users


def declared() -> dict[str, list[str]]:
    """The extras of pyproject.toml, without what is after the names."""
    tomllib: Any = pytest.importorskip("tomllib")  # Python 3.11
    values = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = values["project"]["optional-dependencies"]
    return {name: items for name, items in extras.items() if name not in LEFT_OUT}


def test_the_table_equals_pyproject() -> None:
    names = {extra: sorted(re.split(r"[\[<>=~! ]", item)[0] for item in items) for extra, items in declared().items()}
    inner = {extra: [item for item in items if item.startswith("kd-yolo[")] for extra, items in declared().items()}
    assert {extra: f"kd-yolo[{INCLUDES[extra]}]" for extra in INCLUDES} == {e: i[0] for e, i in inner.items() if i}
    assert {
        extra: sorted([*modules.values(), *["kd-yolo"] * (extra in INCLUDES)]) for extra, modules in EXTRAS.items()
    } == names


def test_no_module_has_two_places() -> None:
    assert len(OPTIONAL) == sum(map(len, EXTRAS.values()))
    assert not set(OPTIONAL) & set(OTHERS)


def test_nothing_optional_is_imported_without_asking() -> None:
    """In the package, an optional module is imported by ``require``; the page is imported after it was asked for."""
    found = []
    for path in sorted((ROOT / "kd_yolo").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.relative_to(ROOT)}: {n}" for n in names if n.split(".")[0] in {*OPTIONAL, *OTHERS}]
    assert [line for line in found if not line.startswith("kd_yolo/search/page/")] == []


@pytest.mark.parametrize("module", [*OPTIONAL, *OTHERS, "onnxruntime", "no_such_package"])
def test_a_missing_module_says_what_to_type(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for ask in (require, check_installed):
        with pytest.raises(MissingDependencyError, match="which is not installed: pip install '") as error:
            ask(module)
        assert install_line(module) in str(error.value)
        assert error.value.exit_code == 5
    if module in OPTIONAL:
        assert install_line(module) == f"pip install 'kd-yolo[{OPTIONAL[module]}]'"
        assert OPTIONAL[module] in {extra for extra in EXTRAS if missing_of(extra)}


def test_a_broken_module_is_told_from_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_inside.py").write_text("import no_such_package_deeper")
    (tmp_path / "broken_library.py").write_text("raise OSError('libcudart.so: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module, reason in (("broken_inside", "no_such_package_deeper"), ("broken_library", "libcudart")):
        with pytest.raises(MissingDependencyError, match=rf"installed but cannot be imported \(.*{reason}"):
            require(module)


def test_what_is_there_is_given() -> None:
    assert require("json.decoder").JSONDecoder
    check_installed("json", "xml.dom")
    assert isinstance(require("numpy"), types.ModuleType)
