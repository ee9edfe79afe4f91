"""The layers that a model description may name, and the activations: explicit lists, held by a test against upstream.

They are those that ultralytics' ``parse_model`` treats in branches of its own or that a YAML of its uses. Whatever
loads or fetches weights is missing on purpose, and named here so that the message can say why.
"""

from __future__ import annotations

CONVOLUTIONS = frozenset(
    [
        "AConv",
        "ADown",
        "Conv",
        "ConvTranspose",
        "DWConv",
        "DWConvTranspose2d",
        "Focus",
        "GhostConv",
        "HGStem",
        "SCDown",
        "nn.ConvTranspose2d",
    ]
)
BLOCKS = frozenset(
    [
        "A2C2f",
        "AIFI",
        "Bottleneck",
        "BottleneckCSP",
        "C1",
        "C2",
        "C2PSA",
        "C2f",
        "C2fCIB",
        "C2fPSA",
        "C3",
        "C3Ghost",
        "C3TR",
        "C3k2",
        "C3x",
        "CBFuse",
        "CBLinear",
        "Concat",
        "ELAN1",
        "GhostBottleneck",
        "HGBlock",
        "PSA",
        "RepC3",
        "RepNCSPELAN4",
        "ResNetLayer",
        "SPP",
        "SPPELAN",
        "SPPF",
    ]
)
PLAIN = frozenset(
    [
        "nn.AvgPool2d",
        "nn.BatchNorm2d",
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
HEADS = frozenset(
    [
        "Classify",
        "Depth",
        "Detect",
        "OBB",
        "OBB26",
        "Pose",
        "Pose26",
        "RTDETRDecoder",
        "Segment",
        "Segment26",
        "SemanticSegment",
        "v10Detect",
    ]
)
# of YOLO-World and YOLOE: they need a text encoder, which ultralytics fetches and installs a package for
TEXT_LAYERS = frozenset(["C2fAttn", "ImagePoolingAttn", "WorldDetect", "YOLOEDetect", "YOLOESegment", "YOLOESegment26"])
LAYERS = CONVOLUTIONS | BLOCKS | PLAIN | HEADS
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
