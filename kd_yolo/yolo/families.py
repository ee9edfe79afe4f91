"""The families of networks: one table of what has to be known by name. Whoever asks about a head or a block asks here.

A family of an installed package is added by an entry point of the group ``kd_yolo.families`` that names a
:class:`Family`; it is imported when a name is not in the table. See docs/adding.md.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import describe_plugin, load_plugin, plugins

GROUP = "kd_yolo.families"
RTDETR = "rtdetr"  # no task of ultralytics, which has detectors of two kinds: ours, as its trainers differ
ONE_TO_ONE = "one2one_"  # of an end-to-end head's second branches
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Head:
    """The layer that ends a network.

    Attributes:
        name: of its class, as a model YAML and a checkpoint write it.
        task: of ultralytics, or ``rtdetr``.
        form: ``levels`` (boxes and classes at each of several strides: what can be distilled), ``classifier``,
            ``decoder`` (RT-DETR's) or ``map``.
        boxes: the list of branches, one for each level, that put out the boxes.
        classes: the same for the class logits.
        others: further lists of branches.
        tails: lists of convs that end the branches of a list, where they do not end themselves.
        prototypes: levels that mask prototypes are made of: none, the first, or all.
        rotated: the boxes have an angle, so that losses that compare corners do not fit.
        prunable: whether what feeds it can be pruned.
        takes_text: reads features of a text, so that it is not built from a YAML here.
        module: where the class is.
    """

    name: str
    task: str = "detect"
    form: Literal["levels", "classifier", "decoder", "map"] = "levels"
    boxes: str = "cv2"
    classes: str = "cv3"
    others: tuple[str, ...] = ()
    tails: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prototypes: Literal["none", "first", "all"] = "none"
    rotated: bool = False
    prunable: bool = True
    takes_text: bool = False
    module: str = "ultralytics.nn.modules.head"

    def outputs(self) -> list[tuple[str, tuple[str, ...]]]:
        """Every list of branches, those of a one-to-one side too, with the lists of what ends them."""
        lists = [(name, self.tails.get(name, ())) for name in (self.boxes, self.classes, *self.others)]
        return lists + [(ONE_TO_ONE + name, tuple(ONE_TO_ONE + tail for tail in tails)) for name, tails in lists]


@dataclass(frozen=True)
class Family:
    """Networks of one generation, and what came with it.

    Attributes:
        name: for messages.
        stem: how the names of its networks begin; the letter of the size follows.
        sizes: letters from small to large; empty where names have none.
        heads: that it brought.
        blocks: layers that it brought, as a model YAML names them.
        halving: those blocks that split the output of their ``cv1`` in the middle and join all parts before ``cv2``.
        classes: layers and heads that are not in ultralytics: a YAML and a checkpoint may name them.
    """

    name: str
    stem: str
    sizes: str = "nsmlx"
    heads: tuple[Head, ...] = ()
    blocks: frozenset[str] = frozenset()
    halving: frozenset[str] = frozenset()
    classes: tuple[type[nn.Module], ...] = ()

    @property
    def layers(self) -> frozenset[str]:
        """All its layers that a model YAML may name, heads aside."""
        return self.blocks | self.halving | {cls.__name__ for cls in self.classes} - {head.name for head in self.heads}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEYPOINT_TAILS = {"cv4": ("cv4_kpts", "cv4_sigma")}
FAMILIES = (
    Family("v3", "yolov3", "", (Head("Detect"),), _names("Bottleneck Concat Conv SPP")),
    Family(
        "v5u", "yolov5",
        blocks=_names(
            "BottleneckCSP C1 C3 C3Ghost C3TR C3x ConvTranspose DWConv DWConvTranspose2d Focus GhostBottleneck"
            " GhostConv SPPF"
        ),
        halving=_names("C2"),
    ),
    Family("v6", "yolov6"),
    Family(
        "v8", "yolov8",
        heads=(
            Head("Classify", "classify", "classifier"),
            Head("OBB", "obb", others=("cv4",), rotated=True),
            Head("Pose", "pose", others=("cv4",)),
            Head("Segment", "segment", others=("cv4",), prototypes="first"),
        ),
        halving=_names("C2f"),
    ),
    Family(
        "v9", "yolov9", "tsmce", blocks=_names("AConv ADown CBFuse CBLinear SPPELAN"),
        halving=_names("ELAN1 RepNCSPELAN4"),
    ),
    Family("v10", "yolov10", "nsmblx", (Head("v10Detect"),), _names("SCDown"), _names("C2fCIB PSA")),
    Family("11", "yolo11", halving=_names("C2PSA C2fPSA C3k2")),
    Family("12", "yolo12", blocks=_names("A2C2f")),
    Family(
        "26", "yolo26",
        heads=(
            Head("OBB26", "obb", others=("cv4",), rotated=True),
            Head("Pose26", "pose", others=("cv4",), tails=_KEYPOINT_TAILS),
            Head("Segment26", "segment", others=("cv4",), prototypes="all"),
            Head("Depth", "depth", "map", prunable=False),
            Head("SemanticSegment", "semantic", "map", prunable=False),
        ),
    ),
    Family(
        "RT-DETR", "rtdetr", "", (Head("RTDETRDecoder", RTDETR, "decoder"),),
        _names("AIFI HGBlock HGStem RepC3 ResNetLayer"),
    ),
    Family(
        "YOLO-World and YOLOE", "yoloe", "",
        heads=(
            Head("WorldDetect", prunable=False, takes_text=True),
            Head("YOLOEDetect", prunable=False, takes_text=True),
            Head("YOLOESegment", "segment", prunable=False, takes_text=True),
            Head("YOLOESegment26", "segment", prunable=False, takes_text=True),
        ),
    ),
)  # fmt: skip


@cache
def installed() -> tuple[Family, ...]:
    """The families of installed packages; a warning says which are broken. Ultralytics gets to know their layers."""
    found = []
    for entry in plugins(GROUP).values():
        try:
            family = load_plugin(entry)
            if not isinstance(family, Family):
                raise ConfigError(f"{describe_plugin(entry)} is no family: expected a {__name__}.Family.")
            _make_known(family, describe_plugin(entry))
        except ConfigError as error:
            _LOG.warning("%s", error)
        else:
            found.append(family)
    return tuple(found)


def _make_known(family: Family, what: str) -> None:
    """Ultralytics builds layers that it finds by their name in one of its modules."""
    import ultralytics.nn.tasks as tasks

    for cls in family.classes:
        if getattr(tasks, cls.__name__, cls) is not cls:
            raise ConfigError(f"{what}: ultralytics has a layer {cls.__name__}. Give yours another name.")
        setattr(tasks, cls.__name__, cls)


def families() -> tuple[Family, ...]:
    """All families, those of installed packages too."""
    return (*FAMILIES, *installed())


def family_names() -> str:
    """``"v3, v5u, ... and 26"``: the families of YOLO, for messages."""
    others = [f for f in families() if not any(head.form == "decoder" or head.takes_text for head in f.heads)]
    *names, last = (family.name for family in others)
    return f"{', '.join(names)} and {last}"


def head_named(name: str) -> Head | None:
    """The head of that class name; None when nothing is known of it."""
    own = {head.name: head for family in FAMILIES for head in family.heads}
    return own.get(name) or next((head for f in installed() for head in f.heads if head.name == name), None)


def head_of(layer: object) -> Head | None:
    """What is known of a layer's own class as a head; a subclass may do something else."""
    return _exact(type(layer))


def head_like(layer: object) -> Head | None:
    """What is known of a layer's class, or of the nearest class that it derives from, as a head."""
    return next((head for cls in type(layer).__mro__ if (head := _exact(cls)) is not None), None)


def _exact(cls: type) -> Head | None:
    if cls.__module__.startswith(("torch.", "builtins")):
        return None
    head = head_named(cls.__name__)
    return head if head is not None and head.module == cls.__module__ else None


def is_form(layer: object, form: str) -> bool:
    """Whether a layer is, or derives from, a head of that form."""
    head = head_like(layer)
    return head is not None and head.form == form


def is_end2end(layer: object) -> bool:
    """Whether a layer is a head with a one-to-one side beside the one-to-many side, or with that side alone."""
    head = head_like(layer)
    return head is not None and getattr(layer, ONE_TO_ONE + head.boxes, None) is not None


def halves(block: object) -> bool:
    """Whether a block splits the output of its ``cv1`` in the middle; a subclass may do something else."""
    cls = type(block)
    is_theirs = cls.__module__.startswith("ultralytics.nn.")
    return any(cls.__name__ in family.halving and (is_theirs or cls in family.classes) for family in families())
