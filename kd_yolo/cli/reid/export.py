"""``kd-yolo reid export`` and ``prune``: a trained network becomes another file."""

from __future__ import annotations

from pathlib import Path

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.about import About, setting_keys
from kd_yolo.cli.closing import print_network, print_next, shell_path
from kd_yolo.cli.reid.pairs import parse_pairs, refuse_pairs
from kd_yolo.cli.reid.test import WeightsFlags
from kd_yolo.reid.settings import ReIDConfig

ABOUT = About(
    """Exports a ReID network with its preprocessing, compares the outputs with PyTorch's, and writes a tracker YAML for
    yolo track.

    With data= the outputs are compared on crops of that data set, else on noise.""",
    "kd-yolo reid export --weights runs/reid/resnet50/weights/best.pt data=Market-1501-v15.09.15",
    lambda: setting_keys(ReIDConfig, ("data",)),
)
ABOUT_PRUNE = About(
    "Removes channels of a ReID network; fine-tune it with kd-yolo reid train --start pruned.pt.",
    "kd-yolo reid prune --weights runs/reid/resnet50/weights/best.pt --factor 0.3",
)


class Export(WeightsFlags):
    """Flags of ``export``."""

    format: str = "onnx"
    """onnx, torchscript or openvino."""


class Prune(WeightsFlags):
    """Flags of ``prune``."""

    factor: float = 0.2
    """Share of the prunable channels to remove."""
    out: Path | None = None
    """The pruned checkpoint (default: pruned.pt beside the weights)."""


def run_export(flags: Export, pairs: list[str]) -> None:
    """Exports a network, compares it with PyTorch's, writes a tracker YAML."""
    from kd_yolo.reid.export import export, read_crops
    from kd_yolo.reid.model.network import ReIDModel
    from kd_yolo.reid.tracker import write_tracker

    data = parse_pairs(pairs)
    refuse_pairs([key for key in data if key != "data"])
    model = ReIDModel.load(flags.weights)
    crops_nchw = read_crops(data["data"], (model.config.height, model.config.width)) if data else None
    target, difference = export(model, flags.weights, flags.format, crops_nchw)
    on = "noise (data= compares on crops)" if crops_nchw is None else f"{len(crops_nchw)} crops"
    print(f"largest difference of a value to PyTorch's on {on}: {difference:.2g}")
    tracker = write_tracker(target)
    print_network(target, plain=False)
    print_network(tracker, label="tracker", plain=False)
    print_next(f"yolo track model=yolov8n.pt source=... tracker={shell_path(tracker)}")


def run_prune(flags: Prune, pairs: list[str]) -> None:
    """Removes channels of a network and says what is left."""
    from kd_yolo.reid.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from kd_yolo.reid.model.network import ReIDModel
    from kd_yolo.reid.prune import prune

    refuse_pairs(pairs)
    target = flags.out or flags.weights.with_name("pruned.pt")
    if target.suffix != ".pt" or target.is_dir():
        raise ConfigError(f"--out {target}: expected the name of a checkpoint, which ends with .pt.")
    source = load_checkpoint(flags.weights)
    pruned = prune(ReIDModel.from_checkpoint(source, str(flags.weights)), flags.factor)
    extra = {
        "settings": source.extra.get("settings", {}),
        "pruned": {"from": flags.weights.name, "factor": flags.factor},
    }
    save_checkpoint(target, Checkpoint(pruned.model.config, pruned.model.state_dict(), source.identities, extra=extra))
    (before, after), (cost, left) = pruned.parameters, pruned.gmacs
    print(
        f"parameters {before:,} -> {after:,} ({after / before:.0%}), GMACs {cost:.3f} -> {left:.3f} ({left / cost:.0%})"
    )
    print_network(target, plain=False)
    print_next(f"kd-yolo reid train --start {shell_path(target)} data=...")
