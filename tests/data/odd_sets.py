"""Data sets as people have them: every layout, image and label fault by chance from a seed."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

Draw = random.Random


def drawing(draw: Draw, size: tuple[int, int] = (16, 20), mode: str = "RGB") -> Image.Image:
    depth = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(draw.randrange(1 << 30)).integers(0, 255, (*size, *depth), np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def turned(draw: Draw) -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return encoded(drawing(draw), "JPEG", exif=exif)


def bad_crc(draw: Draw) -> bytes:
    data = bytearray(encoded(drawing(draw), "PNG"))
    data[-20] ^= 255
    return bytes(data)


# suffix and content; None makes something else of the name
IMAGES: dict[str, tuple[str, Callable[[Draw], bytes] | str]] = {
    "png": (".png", lambda d: encoded(drawing(d), "PNG")),
    "jpg": (".jpg", lambda d: encoded(drawing(d), "JPEG")),
    "capitals": (".JPG", lambda d: encoded(drawing(d), "JPEG")),
    "grey": (".png", lambda d: encoded(drawing(d, mode="L"), "PNG")),
    "rgba": (".png", lambda d: encoded(drawing(d, mode="RGBA"), "PNG")),
    "bmp": (".bmp", lambda d: encoded(drawing(d), "BMP")),
    "webp": (".webp", lambda d: encoded(drawing(d), "WEBP")),
    "tif": (".tif", lambda d: encoded(drawing(d), "TIFF")),
    "turned": (".jpg", turned),
    "png named jpg": (".jpg", lambda d: encoded(drawing(d), "PNG")),
    "two dots": (".b.jpg", lambda d: encoded(drawing(d), "JPEG")),
    "9 px": (".png", lambda d: encoded(drawing(d, (30, 9)), "PNG")),
    "10 px": (".png", lambda d: encoded(drawing(d, (10, 10)), "PNG")),
    "gif named jpg": (".jpg", lambda d: encoded(drawing(d), "GIF")),
    "ppm named png": (".png", lambda d: encoded(drawing(d), "PPM")),
    "cut jpg": (".jpg", lambda d: encoded(drawing(d, (40, 40)), "JPEG")[:700]),
    "cut header": (".jpg", lambda d: encoded(drawing(d), "JPEG")[:30]),
    "no end": (".jpg", lambda d: encoded(drawing(d), "JPEG")[:-2]),
    "bytes behind the end": (".jpg", lambda d: encoded(drawing(d), "JPEG") + b"camera"),
    "cut png": (".png", lambda d: encoded(drawing(d), "PNG")[:-30]),
    "bad crc": (".png", bad_crc),
    "text": (".jpg", lambda d: b"not an image"),
    "empty": (".png", lambda d: b""),
    "hidden": ("hidden", lambda d: encoded(drawing(d), "PNG")),
    "jfif": (".jfif", lambda d: encoded(drawing(d), "JPEG")),
    "other": (".json", lambda d: b"{}"),
    "folder": (".jpg", "folder"),
    "lost link": (".jpg", "lost link"),
    "link": (".png", "link"),
}
GOOD = ("png", "jpg", "capitals", "grey", "rgba", "bmp", "webp", "tif", "turned", "two dots", "link", "10 px")

LABELS: dict[str, bytes | None] = {
    "good": b"0 0.5 0.5 0.2 0.2\n1 0.25 0.25 0.1 0.1\n",
    "no end of line": b"0 0.5 0.5 0.2 0.2",
    "marked": b"\xef\xbb\xbf0 0.5 0.5 0.2 0.2\n",
    "windows": b"0 0.5 0.5 0.2 0.2\r\n\r\n1 0.25 0.25 0.1 0.1\r\n",
    "missing": None,
    "blank": b"\n \n",
    "nothing": b"",
    "twice": b"0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n1 0.25 0.25 0.1 0.1\n",
    "twice, written otherwise": b"0 0.5 0.5 0.2 0.2\n0.0 .5 5e-1 0.20 0.2\n",
    "edge": b"0 1.005 0.5 0.2 0.2\n",
    "slightly below": b"0 -0.005 0.5 0.2 0.2\n",
    "outlines": b"0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.2 0.2 0.6 0.2 0.6 0.6 0.2 0.6\n",
    "outlines twice": b"0 0.1 0.1 0.5 0.1 0.5 0.5\n0 0.1 0.1 0.5 0.1 0.5 0.5\n",
    "outlines of one box": b"0 0.1 0.1 0.5 0.1 0.5 0.5\n0 0.1 0.1 0.5 0.5 0.1 0.5\n",
    "outline over the edge": b"0 0.9 0.1 1.05 0.1 1.05 0.5\n",
    "corners": b"0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n",
    "class too big": b"0 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.2 0.2\n",
    "class -1": b"-1 0.5 0.5 0.2 0.2\n",
    "class half": b"0.5 0.5 0.5 0.2 0.2\n",
    "class nan": b"nan 0.5 0.5 0.2 0.2\n",
    "pixels": b"0 120 80 30 20\n",
    "far below": b"0 -0.2 0.5 0.2 0.2\n",
    "negative size": b"0 0.5 0.5 -0.005 0.2\n",
    "nan": b"0 0.5 nan 0.2 0.2\n",
    "infinite": b"0 0.5 0.5 1e39 0.2\n",
    "4 columns": b"0 0.5 0.5 0.2\n",
    "6 columns": b"0 0.5 0.5 0.2 0.2 0.9\n",
    "ragged": b"0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2\n",
    "mixed": b"0 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.5 0.1 0.5 0.5\n",
    "outline of 8 columns": b"0 0.1 0.1 0.5 0.1 0.5 0.5 0.3\n",
    "word": b"cat 0.5 0.5 0.2 0.2\n",
    "latin": b"0 0.5 0.5 0.2 0.2 \xe9\n",
    "pose": b"0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 0\n",
    "pose off": b"0 0.5 0.5 0.2 0.2 1.4 0.4 2 0.6 0.6 0\n",
    "pose twice": b"0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 0\n" * 2,
}
USABLE = ("good", "no end of line", "marked", "windows", "missing", "blank", "twice", "edge", "slightly below")
POLYGONS = ("outlines", "outlines twice", "outlines of one box", "outline over the edge", "corners", "blank")


def write_split(draw: Draw, folder: Path, task: str, faults: float) -> None:
    """Images of one split in ``folder``, which has ``images`` on its path, and labels beside it."""
    place = Path(str(folder).replace("/images", "/labels"))
    folder.mkdir(parents=True)
    place.mkdir(parents=True)
    usable = {"segment": POLYGONS, "obb": POLYGONS, "pose": ("pose", "pose twice", "blank")}.get(task, USABLE)
    for i in range(draw.randint(4, 7)):
        kind = draw.choice(list(IMAGES) if draw.random() < faults else GOOD)
        label = draw.choice(list(LABELS) if draw.random() < faults else usable)
        if i < 2:  # something that can be trained on
            kind, label = draw.choice(GOOD), usable[0]
        write_image(draw, folder, f"p{i}", kind)
        lines = LABELS[label]
        stem = f"p{i}.b" if kind == "two dots" else f"p{i}"
        if lines is not None:
            (place / f"{stem}.txt").write_bytes(lines)


def write_image(draw: Draw, folder: Path, stem: str, kind: str) -> None:
    suffix, make = IMAGES[kind]
    file = folder / (f".{stem}.png" if suffix == "hidden" else stem + suffix)
    if make == "folder":
        file.mkdir()
    elif make == "lost link":
        file.symlink_to(folder / "nowhere.jpg")
    elif make == "link":
        away = folder.parents[1] / "away"
        away.mkdir(exist_ok=True)
        target = away / f"{folder.name}-{stem}.png"
        target.write_bytes(encoded(drawing(draw), "PNG"))
        file.symlink_to(target)
    else:
        assert not isinstance(make, str)
        file.write_bytes(make(draw))


def write_set(seed: int, root: Path, datasets: Path) -> tuple[Path, Path, str]:
    """A data set by chance.

    Returns:
        The data YAML, the folder to run in, and the task.
    """
    draw = random.Random(seed)
    task = draw.choice(("detect", "detect", "detect", "segment", "pose", "obb"))
    body: dict[str, Any] = {}
    layout = draw.choice(list(LAYOUTS))
    home, cwd = LAYOUTS[layout](draw, root, datasets, body, task)
    write_values(draw, body, task)
    home.mkdir(parents=True, exist_ok=True)
    file = home / draw.choice(("data.yaml", "my set.yml"))
    file.write_text(yaml.safe_dump(body, sort_keys=False))
    return file, cwd, task


def write_values(draw: Draw, body: dict[str, Any], task: str) -> None:
    names: list[dict[str, Any]] = [
        {"names": ["cat", "cup"]}, {"names": {0: "cat", 1: "cup"}}, {"names": {"0": "cat", "1": "cup"}},
        {"names": {1: "cup", 0: "cat"}}, {"nc": 2}, {"nc": "2"}, {"nc": 2.0, "names": ["cat", "cup"]},
        {"names": ["same", "same"]}, {"names": [True, 7]}, {"names": ["1", "0"]}, {"names": None, "nc": 2},
    ]  # fmt: skip
    body |= draw.choice(names)
    if task == "pose" or draw.random() < 0.1:
        body |= {"kpt_shape": [2, 3], **draw.choice([{}, {"flip_idx": [1, 0]}, {"flip_idx": []}])}
    if draw.random() < 0.3:
        body["channels"] = draw.choice((1, 3))
    if draw.random() < 0.3:
        body["test"] = draw.choice(("images/nowhere", "", None, "None"))
    if draw.random() < 0.3:
        body |= {"download": "https://127.0.0.1:9/x.zip", "roboflow": {"version": 1}, "author": "x"}
    if draw.random() < 0.2:
        body["validation"] = body.pop("val")


def plain(draw: Draw, root: Path, datasets: Path, body: dict[str, Any], task: str) -> tuple[Path, Path]:
    for split in ("train", "val"):
        write_split(draw, root / "images" / split, task, 0.35)
        body[split] = f"images/{split}"
    return root, root.parent


def roboflow(draw: Draw, root: Path, datasets: Path, body: dict[str, Any], task: str) -> tuple[Path, Path]:
    for split, name in (("train", "train"), ("val", "valid")):
        write_split(draw, root / name / "images", task, 0.35)
        body[split] = f"../{name}/images"
    return root, root.parent


def dot(draw: Draw, root: Path, datasets: Path, body: dict[str, Any], task: str) -> tuple[Path, Path]:
    plain(draw, root, datasets, body, task)
    body["path"] = "."
    return root, root


def absolute(draw: Draw, root: Path, datasets: Path, body: dict[str, Any], task: str) -> tuple[Path, Path]:
    plain(draw, root / "set", datasets, body, task)
    body["path"] = str(root / "set")
    return root / "elsewhere", root.parent


def in_datasets(draw: Draw, root: Path, datasets: Path, body: dict[str, Any], task: str) -> tuple[Path, Path]:
    plain(draw, datasets / root.name, datasets, body, task)
    body["path"] = root.name
    return root / "elsewhere", root


def from_cwd(draw: Draw, root: Path, datasets: Path, body: dict[str, Any], task: str) -> tuple[Path, Path]:
    plain(draw, root / "here" / "set", datasets, body, task)
    body["path"] = "here/set"
    return root / "elsewhere", root


def several(draw: Draw, root: Path, datasets: Path, body: dict[str, Any], task: str) -> tuple[Path, Path]:
    plain(draw, root, datasets, body, task)
    write_split(draw, root / "images" / "more", task, 0.35)
    body["train"] = draw.choice((["images/train", "images/more"], ["images/train", "images/train"], ["images"]))
    return root, root.parent


def listed(draw: Draw, root: Path, datasets: Path, body: dict[str, Any], task: str) -> tuple[Path, Path]:
    plain(draw, root, datasets, body, task)
    for split in ("train", "val"):
        names = [f"images/{split}/{name}" for name in sorted(p.name for p in (root / "images" / split).iterdir())]
        names += [f"images/{split}/gone.jpg", names[0]]
        names = [draw.choice((f"./{name}", str(root / name))) for name in names]
        (root / f"{split}.txt").write_text("\n".join([*names, ""]))
        body[split] = draw.choice((f"{split}.txt", [f"{split}.txt"]))
    return root, root.parent


def linked(draw: Draw, root: Path, datasets: Path, body: dict[str, Any], task: str) -> tuple[Path, Path]:
    plain(draw, root, datasets, body, task)
    for split in ("train", "val"):
        write_split(draw, root / "elsewhere" / "images" / split, task, 0.35)
        for kind in ("images", "labels"):
            (root / kind / split / "cam 1").symlink_to(Path("..", "..", "elsewhere", kind, split))
    return root, root.parent


def linked_split(draw: Draw, root: Path, datasets: Path, body: dict[str, Any], task: str) -> tuple[Path, Path]:
    plain(draw, root / "away", datasets, body, task)
    (root / "images").symlink_to(root / "away" / "images")
    return root, root.parent


def deep(draw: Draw, root: Path, datasets: Path, body: dict[str, Any], task: str) -> tuple[Path, Path]:
    for split in ("train", "val"):
        for part in ("a/b", "c.d", ".hidden"):
            write_split(draw, root / "images" / split / part, task, 0.35)
        body[split] = draw.choice((f"images/{split}", f"./images/{split}/", f"images/../images/{split}"))
    return root, root.parent


LAYOUTS = {
    function.__name__: function
    for function in (
        plain,
        roboflow,
        dot,
        absolute,
        in_datasets,
        from_cwd,
        several,
        listed,
        linked,
        linked_split,
        deep,
    )
}
