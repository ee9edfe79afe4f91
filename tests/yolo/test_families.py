"""The table of families: equal to ultralytics, and one more family is one entry of an installed package."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import ultralytics.nn.modules.block as blocks
import ultralytics.nn.modules.head as heads
import ultralytics.nn.tasks as tasks
from torch import Tensor, nn
from ultralytics.nn.modules import C2f, Conv, Detect, v10Detect
from ultralytics.nn.tasks import DetectionModel

from kd_yolo.base.errors import InputError
from kd_yolo.config.distill import DistillConfig
from kd_yolo.distill.build import build_terms, named_terms
from kd_yolo.distill.defaults import architecture, smaller
from kd_yolo.distill.outputs import Outputs
from kd_yolo.distill.taps import read_modules
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.prune.graph import ChannelGraph
from kd_yolo.yolo.classes import class_layers, set_classes
from kd_yolo.yolo.description.check import check_description
from kd_yolo.yolo.families import FAMILIES, families, family_names, halves, head_like, head_of, is_end2end
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.heads import head_branches, head_facts, raw_outputs

Install = Callable[..., Any]


def test_every_head_of_ultralytics_is_in_the_table_and_the_other_way_round() -> None:
    known = {head.name: head for family in FAMILIES for head in family.heads}
    upstream = {name for name, found in vars(heads).items() if isinstance(found, type) and issubclass(found, Detect)}
    base = {"LRPCHead", "YOLOEDetectBase"}
    assert upstream - base <= set(known)
    assert all(isinstance(getattr(heads, name, None), type) for name in known)
    assert len(known) == sum(len(family.heads) for family in FAMILIES)
    for name, head in known.items():
        assert issubclass(getattr(heads, name), Detect) == (head.form == "levels")


def test_every_halving_block_is_a_block_of_ultralytics() -> None:
    halving = [name for family in FAMILIES for name in family.halving]
    assert len(halving) == len(set(halving)) == 9
    assert all(issubclass(getattr(blocks, name), nn.Module) for name in halving)
    assert not any(family.halving & family.blocks for family in FAMILIES)


@pytest.mark.parametrize(
    ("name", "less"),
    [
        ("yolov8m", "yolov8s"), ("yolov8n", "yolov8n"), ("yolov8s-seg", "yolov8n-seg"), ("yolov9c", "yolov9m"),
        ("yolov9m", "yolov9s"), ("yolov9s", "yolov9t"), ("yolov10b", "yolov10m"), ("yolov10l", "yolov10b"),
        ("yolo11x", "yolo11l"), ("yolo26s-obb", "yolo26n-obb"), ("yolo99m", "yolo99s"),
    ],
)  # fmt: skip
def test_the_next_smaller_size(name: str, less: str) -> None:
    assert smaller(name) == less


@pytest.mark.parametrize("name", ["yolov9n", "yolov8", "mine", "rtdetr-l"])
def test_a_name_without_a_known_size(name: str) -> None:
    with pytest.raises(InputError, match="is not known: name one with --student"):
        smaller(name)


def test_a_class_of_the_same_name_from_elsewhere_is_not_meant() -> None:
    for name in ("C2f", "Detect"):
        foreign = type(name, (nn.Module,), {"__module__": "elsewhere"})()
        assert not halves(foreign)
        assert head_like(foreign) is head_of(foreign) is None
    derived = type("C2f", (C2f,), {"__module__": "elsewhere"})(8, 8)
    assert halves(C2f(8, 8))
    assert not halves(derived)  # it may do something else with the parts
    assert is_end2end(v10Detect(2, (16, 16)))
    assert not is_end2end(Detect(2, ch=(16, 16)))


class Detect27(Detect):
    """Boxes and classes under names of its own, and a third branch that counts the objects of a cell."""

    def __init__(self, nc: int = 80, reg_max: int = 16, end2end: bool = False, ch: tuple[int, ...] = ()) -> None:
        super().__init__(nc, reg_max, False, ch)
        self.sides, self.kinds = self.cv2, self.cv3
        del self.cv2, self.cv3
        self.count = nn.ModuleList(nn.Sequential(Conv(c, 8), Conv(8, 8), nn.Conv2d(8, 5, 1)) for c in ch)

    @property
    def one2many(self) -> dict[str, nn.Module]:
        return {"box_head": self.sides, "cls_head": self.kinds}

    def forward_head(self, x: list[Tensor], box_head: Any = None, cls_head: Any = None) -> dict[str, Any]:
        counts = torch.cat([branch(x[i]).flatten(2) for i, branch in enumerate(self.count)], 2)
        return {**super().forward_head(x, box_head, cls_head), "counts": counts}


class C27(C2f):
    """A block that splits the output of its ``cv1`` as C2f does."""


ENTRY = """
from kd_yolo.yolo.families import Family, Head
HEAD = Head("Detect27", boxes="sides", classes="kinds", others=("count",))
FAMILY = Family("27", "yolo27", "tg", (HEAD,), halving=frozenset({"C27"}))
"""
DESCRIPTION = {
    "nc": 3,
    "backbone": [
        [-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], [-1, 1, "C27", [16]], [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [24, 3, 2]],
    ],
    "head": [[[3, 4], 1, "Detect27", ["nc"]]],
}  # fmt: skip


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ultralytics with a head and a block that this package has never heard of."""
    for cls, module, like in ((Detect27, heads, "WorldDetect"), (C27, blocks, "C2fAttn")):
        monkeypatch.setattr(cls, "__module__", module.__name__)
        monkeypatch.setattr(module, cls.__name__, cls, raising=False)
        monkeypatch.setattr(tasks, cls.__name__, cls, raising=False)
        if cls is Detect27:
            monkeypatch.setattr(tasks, like, cls)  # parse_model finds it among the classes that it builds so


@pytest.fixture
def family(release: None, install_package: Install) -> None:
    install_package("twentyseven", {"twentyseven.py": ENTRY}, {"kd_yolo.families": {"27": "twentyseven:FAMILY"}})


def network(seed: int = 0) -> Any:
    """A network of that family, with signals that are alive."""
    torch.manual_seed(seed)
    plain = copy.deepcopy(DESCRIPTION)
    plain["backbone"][2][2] = "C2f"  # type: ignore[index]
    model: Any = DetectionModel(plain, nc=3, verbose=False)
    block = model.model[2]
    block.__class__ = C27
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight)
    return model.eval()


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for key, inside in value.items() if isinstance(value, dict) else enumerate(value):
            yield from tensors(inside) if key != "feats" else ()


@pytest.mark.usefixtures("release")
def test_without_an_entry_it_is_distilled_as_its_nearest_relative_and_not_pruned() -> None:
    model = network()
    assert head_of(model.model[-1]) is None
    assert getattr(head_like(model.model[-1]), "name", None) == "Detect"
    with pytest.raises(InputError, match="ends in Detect27, which cannot be pruned"):
        ChannelGraph(model, torch.zeros(1, 3, 64, 64))
    with pytest.raises(InputError, match="names the block 'C27' in layer 2, which is not a layer that is known"):
        check_description("it", DESCRIPTION)


@pytest.mark.usefixtures("family")
def test_it_is_described_and_its_sizes_are_known() -> None:
    assert check_description("it", DESCRIPTION) is DESCRIPTION
    wrong = {**DESCRIPTION, "head": [[-1, 1, "Detect27", ["nc"]]]}
    with pytest.raises(InputError, match="expected earlier layers"):
        check_description("it", wrong)
    assert smaller("yolo27g") == smaller("yolo27t") == "yolo27t"
    assert architecture(type("Model", (), {"yaml": {"yaml_file": "yolo27.yaml", "scale": "g"}})()) == "yolo27g"
    assert family_names().endswith("12, 26 and 27")


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("loss", ["bkd", "dfl_kl", "crosskd", "obj_gated", "cwd"])
def test_it_teaches_and_is_taught(loss: str) -> None:
    student, teacher = network(), network(seed=1)
    config = DistillConfig.parse({"teacher": "t", "terms": [{"loss": loss}]}, "here")
    holder = Teacher(teacher)
    (term,) = named_terms(build_terms(config, student, [holder], seed=0)).values()
    image = torch.rand(2, 3, 64, 64)
    taught = holder(image)
    with read_modules(head_branches(student)) as branches:
        preds = student.train()(image)
    raw = raw_outputs(preds)
    features = dict(zip(head_facts(student).layers, raw["feats"], strict=True))
    value = term(Outputs(features, raw, branches), [taught])
    value.backward()
    assert float(value) > 0
    assert float(student.model[0].conv.weight.grad.abs().sum()) > 0


@pytest.mark.usefixtures("family")
def test_it_is_pruned_and_keeps_its_outputs() -> None:
    model = network().double()
    noise = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    silent = copy.deepcopy(model)
    with ChannelGraph(model, noise) as graph:
        fixed = {name for name, why in graph.fixed.items() if why == "head output"}
        assert {f"model.5.{name}.{i}.2" for name in ("sides", "kinds", "count") for i in (0, 1)} <= fixed
        assert {"model.2.cv1.conv[a]", "model.2.cv1.conv[b]"} <= {group.name for group in graph.groups}
        graph.cut({group.name: range(0, group.width, 2) for group in graph.groups})
        for name, left in graph.kept.items():
            layer: Any = silent.get_submodule(name)
            gone = [i for i in range(len(layer.weight)) if i not in left]
            layer.weight.data[gone] = 0
            if layer.bias is not None:
                layer.bias.data[gone] = 0
    assert model.model[2].c * 2 == model.model[2].cv1.conv.out_channels < 16
    with torch.no_grad():
        pairs = list(zip(tensors(model(noise)), tensors(silent(noise)), strict=True))
    assert len(pairs) == 4  # decoded, boxes, scores, counts
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in pairs)


@pytest.mark.usefixtures("family")
def test_its_classes_change() -> None:
    model = network()
    assert set(class_layers(model)) == {"model.5.kinds.0.2", "model.5.kinds.1.2"}
    set_classes(model, 7)
    assert raw_outputs(model(torch.zeros(1, 3, 64, 64)))["scores"].shape[1] == 7


LAYER = """
import torch
from kd_yolo.yolo.families import Family

class Same(torch.nn.Identity):
    pass

class Hidden(torch.nn.Identity):
    pass

FAMILY = Family("27", "yolo27", classes=(Same,))
"""


def test_a_checkpoint_may_hold_the_layers_that_a_family_lists_and_no_others_of_its_package(
    install_package: Install, tmp_path: Path
) -> None:
    install_package("sameness", {"sameness.py": LAYER}, {"kd_yolo.families": {"27": "sameness:FAMILY"}})
    description: dict[str, Any] = copy.deepcopy(DESCRIPTION)
    description["backbone"][2:3] = [[-1, 1, "Same", []]]
    description["head"] = [[[3, 4], 1, "Detect", ["nc"]]]
    check_description("it", description)
    model: Any = DetectionModel(copy.deepcopy(description), nc=3, verbose=False)
    file = tmp_path / "same.pt"
    torch.save({"model": model, "train_args": {}}, file)
    found, _ = load_checkpoint(file)
    assert type(found.model[2]) is sys.modules["sameness"].Same
    model.model[2].__class__ = sys.modules["sameness"].Hidden
    torch.save({"model": model, "train_args": {}}, file)
    with pytest.raises(InputError, match=r"names 'sameness\.Hidden', which is not a part of a YOLO model"):
        load_checkpoint(file)


def test_a_broken_family_breaks_nothing(install_package: Install, caplog: pytest.LogCaptureFixture) -> None:
    entries = {"a": "broken_family:FAMILY", "b": "broken_family_2:FAMILY", "c": "broken_family_3:FAMILY"}
    clash = "import torch\nfrom kd_yolo.yolo.families import Family\n"
    clash += "class Conv(torch.nn.Module): pass\nFAMILY = Family('x', 'x', classes=(Conv,))\n"
    files = {"broken_family.py": "1 / 0", "broken_family_2.py": "FAMILY = 3", "broken_family_3.py": clash}
    install_package("broken_family", files, {"kd_yolo.families": entries})
    with caplog.at_level(logging.WARNING):
        assert families() == FAMILIES
    assert "ZeroDivisionError" in caplog.text
    assert "is no family" in caplog.text
    assert "ultralytics has a layer Conv" in caplog.text
    assert tasks.Conv is Conv
    caplog.clear()
    assert families() == FAMILIES
    assert not caplog.text  # said once
    assert "broken_family_3" in sys.modules
