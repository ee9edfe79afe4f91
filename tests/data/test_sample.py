"""A few images of a set as a set of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.data.check import check_detection_data
from kd_yolo.data.sample import sample_classes, sample_detection
from kd_yolo.data.spec import label_path, list_images, read_data_yaml


def test_images_keep_their_labels(tiny_data: Path, tmp_path: Path) -> None:
    chosen = read_data_yaml(sample_detection(tiny_data, "train", 3, 0, tmp_path / "set"))
    images = list_images(chosen, "train")
    assert len(images) == 3
    assert list_images(chosen, "val") == images
    assert chosen.names == read_data_yaml(tiny_data).names
    originals = {
        file.read_bytes(): label_path(file).read_text() for file in list_images(read_data_yaml(tiny_data), "train")
    }
    for image in images:
        assert label_path(image).read_text() == originals[image.read_bytes()]
    check_detection_data(chosen.yaml_path)


def test_the_seed_chooses(tiny_data: Path, tmp_path: Path) -> None:
    def contents(seed: int, name: str) -> list[bytes]:
        spec = read_data_yaml(sample_detection(tiny_data, "train", 4, seed, tmp_path / name))
        return [file.read_bytes() for file in list_images(spec, "train")]

    assert contents(0, "a") == contents(0, "b") != contents(1, "c")
    assert len(contents(0, "d")) == len(set(contents(0, "e"))) == 4


def test_all_images_when_there_are_not_more(tiny_data: Path, tmp_path: Path) -> None:
    spec = read_data_yaml(sample_detection(tiny_data, "val", 100, 0, tmp_path / "set"))
    assert len(list_images(spec, "train")) == 8


def test_nothing_is_written_beside_the_original(tiny_data: Path, tmp_path: Path) -> None:
    before = sorted(tiny_data.parent.rglob("*"))
    sample_detection(tiny_data, "train", 3, 0, tmp_path / "set")
    assert sorted(tiny_data.parent.rglob("*")) == before


def test_copies_where_links_are_not_allowed(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    spec = read_data_yaml(sample_detection(tiny_data, "train", 2, 0, tmp_path / "set"))
    assert all(file.is_file() and not file.is_symlink() for file in list_images(spec, "train"))


def test_a_split_without_images_is_named(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no images in its split 'test'\. It has: train, val"):
        sample_detection(tiny_data, "test", 3, 0, tmp_path / "set")


def test_classes_keep_their_folders(tmp_path: Path) -> None:
    for name in ("cat", "dog", "emu"):
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "data" / "train" / name / f"{i}.jpg").write_bytes(name.encode() + bytes([i]))
    folder = sample_classes(tmp_path / "data", "train", 4, 0, tmp_path / "set")
    found = sorted(folder.glob("val/*/*.jpg"))
    assert len(found) == len(list(folder.glob("train/*/*.jpg"))) == 4
    assert all(file.read_bytes().startswith(file.parent.name.encode()) for file in found)
    assert sorted(entry.name for entry in (folder / "val").iterdir()) == ["cat", "dog", "emu"]
    with pytest.raises(InputError, match="is no classification set"):
        sample_classes(tmp_path / "data", "val", 4, 0, tmp_path / "other")
