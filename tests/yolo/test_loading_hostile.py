"""Files that would run code when opened: refused by name, and the code has not run."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import ultralytics.nn.tasks as tasks
from torch import nn

from kd_yolo.base.errors import InputError
from kd_yolo.base.pickle_facts import Name, ScanError
from kd_yolo.base.pickles import scan_pickle
from kd_yolo.yolo.files.loading import load_checkpoint
from tests.trust.hostile_pickles import NAMES_REFUSED, attacks, text

pytestmark = pytest.mark.usefixtures("no_installs")
Archive = Callable[[bytes], Path]
_MAGIC = torch.serialization.MAGIC_NUMBER


class Evil:
    """Runs a callable when it is unpickled."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.reduced = (function, args)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.reduced


KINDS = list(attacks("true"))
RUNNING = [kind for kind in KINDS if kind != "through getattr"]


def legacy(position: int, hostile: bytes) -> bytes:
    """A file in torch's legacy format whose pickle number ``position`` is hostile."""
    parts: list[Any] = [_MAGIC, 1001, {"little_endian": True}, {"model": None}, []]
    pickles = [pickle.dumps(part, protocol=2) for part in parts]
    pickles[position] = hostile
    return b"".join(pickles)


@pytest.mark.parametrize("kind", KINDS)
def test_archive_is_refused_by_name(kind: str, marker: Path, write_archive: Archive) -> None:
    path = write_archive(attacks(f"touch {marker}")[kind])
    with pytest.raises(InputError, match=r"x\.pt names '\S+', which is not a part of a YOLO model.*--trust-weights"):
        load_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize("kind", RUNNING)
def test_the_attacks_are_real(kind: str, marker: Path, write_archive: Archive) -> None:
    path = write_archive(attacks(f"touch {marker}")[kind])
    with pytest.raises(InputError):  # whatever it returns is no model
        load_checkpoint(path, trust=True)
    assert marker.exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", range(5))
def test_legacy_file_is_refused(kind: str, position: int, marker: Path, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(legacy(position, attacks(f"touch {marker}")[kind]))
    expected = "names '" if position else "plain pickle"  # without the magic number it is no file of torch
    with pytest.raises(InputError, match=expected):
        load_checkpoint(tmp_path / "x.pt")
    assert not marker.exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trust", [False, True])
def test_plain_pickle_is_never_run(kind: str, trust: bool, marker: Path, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(attacks(f"touch {marker}")[kind])
    with pytest.raises(InputError):
        load_checkpoint(tmp_path / "x.pt", trust=trust)
    assert not marker.exists()


def test_object_deep_inside_a_model_is_refused(tiny_model: nn.Module, marker: Path, tmp_path: Path) -> None:
    import copy
    import os

    model = copy.deepcopy(tiny_model)
    model.model[0].conv.note = [{"deep": Evil(os.system, f"touch {marker}")}]
    torch.save({"epoch": 1, "model": model}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"names '(posix|nt)\.system'"):
        load_checkpoint(tmp_path / "x.pt")
    assert not marker.exists()


@pytest.mark.parametrize("name", NAMES_REFUSED)
@pytest.mark.parametrize("split", ["last", "first"])
def test_name_is_refused(name: str, split: str, write_archive: Archive) -> None:
    module, _, attr = name.rpartition(".") if split == "last" else name.partition(".")
    with pytest.raises(InputError, match=rf"names '{name}'"):
        load_checkpoint(write_archive(f"c{module}\n{attr}\n.".encode()))


def test_missing_package_is_neither_installed_nor_imported(write_archive: Archive) -> None:
    path = write_archive(b"ckd_blocks_missing\nBlock\n)\x81.")
    with pytest.raises(InputError, match=r"'kd_blocks_missing\.Block'.*nor is 'kd_blocks_missing' installed"):
        load_checkpoint(path)
    with pytest.raises(InputError, match="needs code that is not here: No module named 'kd_blocks_missing'"):
        load_checkpoint(path, trust=True)


def test_trusted_file_that_makes_ultralytics_install_something_does_not(
    write_archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.utils import checks

    seen: list[bool] = []
    monkeypatch.setattr(checks, "AUTOINSTALL", True)
    monkeypatch.setattr(checks, "check_requirements", lambda *_: seen.append(checks.AUTOINSTALL))
    with pytest.raises(InputError, match="needs code that is not here: No module named 'clip'"):
        load_checkpoint(write_archive(b"cultralytics.nn.text_model\nCLIP\n)\x81."), trust=True)
    assert seen == [False]
    assert checks.AUTOINSTALL


def test_layers_are_made_but_never_called(tiny_model: nn.Module, marker: Path, tmp_path: Path) -> None:
    """``DetectionModel(description)`` would run the description's activation through ``eval``."""
    description = {**tiny_model.yaml, "activation": f"__import__('os').system('touch {marker}')"}
    torch.save({"model": Evil(tasks.DetectionModel, description)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"calls 'ultralytics\.nn\.tasks\.DetectionModel' while it is opened"):
        load_checkpoint(tmp_path / "x.pt")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation", "__import__('os').system('true')"),
        ("activation", "nn.SiLU(__import__('os').system('true'))"),
        ("activation", "nn.SiLU() if open('x') else 1"),
        ("head", [[-1, 1, "check_requirements", ["evil"]]]),
        ("head", [[-1, 1, "nn.functional.relu", []]]),
        ("backbone", [[-1, 1, "torch_safe_load", ["evil.pt"]]]),
        ("backbone", ["Conv"]),
    ],
)
def test_description_that_holds_code_is_refused(tiny_model: nn.Module, tmp_path: Path, key: str, value: Any) -> None:
    import copy

    model = copy.deepcopy(tiny_model)
    model.yaml = {**model.yaml, key: value}
    torch.save({"model": model}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"(activation|layer) .* (is not a |expected)"):
        load_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "value", ["nn.SiLU()", "torch.nn.LeakyReLU(0.1)", "nn.ReLU(inplace=True)", "nn.Hardtanh(-1, 2)"]
)
def test_description_with_a_layer_as_activation_loads(tiny_model: nn.Module, tmp_path: Path, value: str) -> None:
    import copy

    model = copy.deepcopy(tiny_model)
    model.yaml = {**model.yaml, "activation": value}
    torch.save({"model": model}, tmp_path / "x.pt")
    assert load_checkpoint(tmp_path / "x.pt")[0].yaml["activation"] == value


@pytest.mark.parametrize("name", ["__init__", "__globals__", "load_state_dict", "apply"])
def test_getattr_gives_forward_methods_only(tiny_model: nn.Module, tmp_path: Path, name: str) -> None:
    torch.save({"model": tiny_model, "x": Evil(getattr, nn.Conv2d, name)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="only forward methods are looked up"):
        load_checkpoint(tmp_path / "x.pt")


def test_numpy_object_dtype_is_refused(write_archive: Archive) -> None:
    with pytest.raises(InputError, match="only numbers are loaded"):
        load_checkpoint(write_archive(b"cnumpy\ndtype\n" + text("O8") + b"\x85R."))


def test_scan_follows_the_memo_and_reports_what_it_cannot_follow() -> None:
    facts = scan_pickle(io.BytesIO(b"\x80\x02cos\nsystem\nq\x000h\0)R."))
    assert list(facts.called) == [Name("os", "system")]
    assert facts.protocol == 2
    computed = scan_pickle(io.BytesIO(b"\x80\x02cos\nsystem\n)R)R."))
    assert computed.opaque
    for broken in (b"", b"\x80\x02R.", b"\x80\x02}", b"h\x05."):
        with pytest.raises(ScanError):
            scan_pickle(io.BytesIO(broken))
