"""Ways to tamper with the model description inside a checkpoint."""

from __future__ import annotations

from pathlib import Path

from tests.yolo.tampering import TINY, Tamper, has, lacks, row, yaml

YAML: dict[str, Tamper] = {
    "no yaml": lacks("", "yaml"),
    "yaml is None": has("", "yaml", None),
    "yaml is a path": has("", "yaml", "evil.yaml"),
    "yaml is a Path": has("", "yaml", Path("evil.yaml")),
    "yaml is a list": has("", "yaml", [TINY]),
    "yaml is empty": has("", "yaml", {}),
    "yaml has no head": yaml(head=None),
    "yaml has a text as backbone": yaml(backbone="Conv"),
    "yaml has an empty backbone": yaml(backbone=[]),
    "yaml has an activation that is code": yaml(activation="__import__('os').system('touch CANARY') or nn.SiLU()"),
    "yaml has an activation that is a module": yaml(activation="nn.Transformer()"),
    "yaml has an activation that is huge": yaml(activation="nn.PReLU(99999999999)"),
    "yaml has an activation that is a list": yaml(activation=["nn.SiLU()"]),
    "yaml has a block that is a function": row(0, [-1, 1, "check_requirements", ["evil"]]),
    "yaml has a block that fetches": row(0, [-1, 1, "TorchVision", [16, "resnet18", "DEFAULT"]]),
    "yaml has a block that is a model": row(0, [-1, 1, "DetectionModel", ["evil.yaml"]]),
    "yaml has a row of three": row(0, [-1, 1, "Conv"]),
    "yaml has a row that is a text": row(0, "Conv"),
    "yaml has a name that is a number": row(0, [-1, 1, 7, [16]]),
    "yaml has a billion repeats": row(0, [-1, 3 * 10**8, "Conv", [16, 3, 2]]),
    "yaml has many repeats of many": row(2, [-1, 1000, "C2f", [65536]]),
    "yaml has 10^9 channels": row(0, [-1, 1, "Conv", [10**9, 3, 2]]),
    "yaml has many channels": row(1, [-1, 1, "Conv", [60000, 63, 2]]),
    "yaml has negative channels": row(0, [-1, 1, "Conv", [-16, 3, 2]]),
    "yaml has an argument that is code": row(0, [-1, 1, "Conv", ["__import__('os').system('touch CANARY')", 3, 2]]),
    "yaml has a local variable as argument": row(0, [-1, 1, "Conv", ["layers", 3, 2]]),
    "yaml has lists in lists": row(0, [-1, 1, "Conv", [[[1]], 3, 2]]),
    "yaml takes from a later layer": row(0, [5, 1, "Conv", [16, 3, 2]]),
    "yaml takes from nowhere": row(1, [[], 1, "Concat", [1]]),
    "yaml has layers that do not fit": row(2, [[0, 1], 1, "Concat", [1]]),
    "yaml has nc of a text": yaml(nc="2"),
    "yaml has nc of 10^11": yaml(nc=10**11),
    "yaml has nc of 0": yaml(nc=0),
    "yaml has nc of NaN": yaml(nc=float("nan")),
    "yaml has no scale of that name": yaml(scales={"n": [1, 1, 64]}, scale="q"),
    "yaml has scales that are a list": yaml(scales=[1, 2, 3]),
    "yaml has a width of 10^9": yaml(width_multiple=1e9),
    "yaml has a depth that is a text": yaml(depth_multiple="1"),
    "yaml has channels of 10^6": yaml(channels=10**6),
    "yaml has kpt_shape of a number": yaml(kpt_shape=17),
    "yaml has reg_max of 10^7": yaml(reg_max=10**7),
    "yaml has end2end of a text": yaml(end2end="yes"),
}
