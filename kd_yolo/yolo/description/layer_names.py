"""The layers that a model description may name, and the activations: explicit lists, held by a test against upstream.

They are torch's plain ones and those of the families in :mod:`kd_yolo.yolo.families`. Whatever loads or fetches weights
is missing on purpose, and named here so that the message can say why.
"""

from __future__ import annotations

from kd_yolo.yolo.families import FAMILIES, installed

PLAIN = frozenset(
    [
        "nn.AvgPool2d",
        "nn.BatchNorm2d",
        "nn.ConvTranspose2d",
        "nn.Dropout",
        "nn.Dropout2d",
        "nn.Identity",
        "nn.LeakyReLU",
        "nn.MaxPool2d",
        "nn.ReLU",
        "nn.SiLU",
        "nn.Upsample",
        "nn.ZeroPad2d",
    ]
)
TEXT_BLOCKS = frozenset({"C2fAttn", "ImagePoolingAttn"})
# of YOLO-World and YOLOE: they need a text encoder, which ultralytics fetches and installs a package for
TEXT_LAYERS = TEXT_BLOCKS | {head.name for family in FAMILIES for head in family.heads if head.takes_text}
HEADS = frozenset(head.name for family in FAMILIES for head in family.heads) - TEXT_LAYERS
LAYERS = PLAIN | HEADS | frozenset(name for family in FAMILIES for name in family.layers)
OLD_NAMES = frozenset({"Silence"})  # in checkpoints of yolov9e; ultralytics reads it as nn.Identity
FETCHING = frozenset({"TorchVision", "AutoBackend", "Index"})  # torchvision fetches weights and runs any of its models

ACTIVATIONS = frozenset(
    [
        "CELU",
        "ELU",
        "GELU",
        "Hardsigmoid",
        "Hardswish",
        "Hardtanh",
        "Identity",
        "LeakyReLU",
        "LogSigmoid",
        "Mish",
        "PReLU",
        "RReLU",
        "ReLU",
        "ReLU6",
        "SELU",
        "SiLU",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Tanh",
    ]
)
TEXT_ARGUMENTS = frozenset(["None", "True", "False", "nc", "kpt_shape", "nearest", "bilinear", "bicubic"])


def installed_layers() -> frozenset[str]:
    """Layers and heads that families of installed packages add."""
    added = installed()
    return frozenset(name for f in added for name in f.layers | {head.name for head in f.heads})
