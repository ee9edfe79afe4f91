"""What is written about the built-in images: the truth in the meta files."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from kd_yolo.builtin.presets import SPLITS, StreetPreset
from kd_yolo.builtin.street.actors import CLASS_NAMES
from kd_yolo.builtin.street.render import Truth
from kd_yolo.builtin.street_image import (
    LONG_SIDE_MIN_PX,
    SHORT_SIDE_MIN_PX,
    VISIBLE_SHARE_MIN,
    StreetImage,
    is_labelled,
)
from kd_yolo.data.folder import Record

GENERATOR = "street"
VERSION = 1  # raise it whenever the same seed gives other images or labels


def image_record(image: StreetImage, file: str) -> Record:
    """An image's line in ``meta.jsonl``."""
    return {
        "file": file,
        "split": image.split,
        "index": image.index,
        "camera": image.camera_id,
        "time": image.time,
        "objects": [_object(truth) for truth in image.frame.objects],
    }


def _object(truth: Truth) -> Record:
    return {
        "class": truth.class_name,
        "identity": truth.identity,
        "box": list(truth.visible_xyxy),
        "full_box": list(truth.full_xyxy),
        "visible": round(truth.visible_share, 4),
        "outside": round(truth.outside_share, 4),
        "occluders": list(truth.occluders),
        "parent": truth.parent,
        "depth_m": round(truth.depth_m, 2),
        "yaw": round(truth.yaw, 3),
        "labelled": is_labelled(truth),
    }


def set_facts(plan: StreetPreset, records: list[Record]) -> Record:
    """What ``meta.json`` says about the whole set, beyond its key."""
    boxes = {split: dict.fromkeys(CLASS_NAMES, 0) for split in SPLITS}
    for split, group in groupby(records, key=lambda r: str(r["split"])):
        boxes[split].update(Counter(o["class"] for r in group for o in r["objects"] if o["labelled"]))
    return {
        "size_px": [plan.width_px, plan.height_px],
        "cameras": plan.cameras,
        "classes": list(CLASS_NAMES),
        "images": {split: plan.num_images(split) for split in SPLITS},
        "identities": {split: [plan.identity_range(split).start, plan.identity_range(split).stop] for split in SPLITS},
        "boxes": boxes,
        "label_rule": {
            "visible_share_min": VISIBLE_SHARE_MIN,
            "long_side_min_px": LONG_SIDE_MIN_PX,
            "short_side_min_px": SHORT_SIDE_MIN_PX,
        },
    }
