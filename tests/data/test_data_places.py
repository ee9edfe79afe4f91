"""Where data are looked for, beside what the oracle of test_like_upstream covers; links without end; natural order."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml

from kd_yolo.base.errors import InputError
from kd_yolo.cli.app import main
from kd_yolo.data.check import check_for_training
from kd_yolo.data.source import find_data_yaml
from kd_yolo.data.spec import list_images, read_data_yaml
from kd_yolo.data.unlabelled import find_unlabelled
from kd_yolo.data.upstream import datasets_dir, shipped_yaml


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ultralytics' folder of data sets; the working directory is another one."""
    for module in ("ultralytics.utils", "ultralytics.data.utils"):
        monkeypatch.setattr(f"{module}.DATASETS_DIR", tmp_path / "datasets")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path / "datasets"


@pytest.mark.parametrize("name", ["coco8.yaml", "coco8", "VOC.yaml", "DOTAv1.5", "coco.yaml"])
def test_a_set_of_ultralytics_that_is_not_here_says_what_to_do(name: str, datasets: Path) -> None:
    with pytest.raises(InputError, match=rf"expected {datasets}.*kd-yolo fetches nothing") as caught:
        check_for_training(name)
    assert caught.value.exit_code == 3


def test_a_set_of_ultralytics_that_is_here_is_found(
    datasets: Path, tiny_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_data.parent, datasets / "coco8", ignore=shutil.ignore_patterns("*.cache"))
    for name in ("coco8.yaml", "coco8"):
        assert main(["data", "check", name]) == 0
        assert "train 8 images, 8 with labels" in capfd.readouterr().out
    own = Path("coco8.yaml")
    own.write_text(
        yaml.safe_dump({"path": str(tiny_data.parent), "train": "images/train", "val": "images/val", "nc": 2})
    )
    assert find_data_yaml("coco8.yaml") == own.absolute(), "a file of that name here goes first"
    shutil.rmtree(datasets / "coco8" / "images" / "val")
    with pytest.raises(InputError, match=r"coco8/images/val.*It comes from https://"):
        check_for_training(shipped_yaml("coco8") or "")


def test_a_set_in_datasets_is_found_by_its_name(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As weights are found in ``weights/``; what is here goes first, and a path is a path."""
    shutil.copytree(tiny_set.parent, tmp_path / "datasets/mine")
    monkeypatch.chdir(tmp_path)
    found = tmp_path / "datasets/mine/data.yaml"
    assert read_data_yaml("mine").yaml_path == found
    assert read_data_yaml("datasets/mine").yaml_path == found
    for name in ("./mine", "sets/mine", "yours"):
        with pytest.raises(InputError, match="does not exist, nor datasets/"):
            read_data_yaml(name)
    shutil.copytree(tiny_set.parent, tmp_path / "mine")
    assert read_data_yaml("mine").yaml_path == tmp_path / "mine/data.yaml"


def test_the_settings_of_ultralytics_are_read_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(__import__("sys").modules, "ultralytics.utils", raising=False)
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    assert datasets_dir().name == "datasets"
    (tmp_path / "Ultralytics").mkdir()
    (tmp_path / "Ultralytics" / "settings.json").write_text('{"datasets_dir": "/somewhere/sets"}')
    assert datasets_dir() == Path("/somewhere/sets")


def test_the_yaml_goes_before_the_working_directory(datasets: Path, tiny_data: Path, tmp_path: Path) -> None:
    """Ultralytics counts ``path: .`` from where the command runs: people mean the YAML's folder."""
    home = tmp_path / "home"
    shutil.copytree(tiny_data.parent, home, ignore=shutil.ignore_patterns("*.cache"))
    data = home / "data.yaml"
    data.write_text("path: .\n" + data.read_text())
    assert read_data_yaml(data).root == home
    moved = shutil.copy(data, tmp_path / "alone.yaml")
    with pytest.raises(InputError, match=r"images/train', which is .*does not exist"):
        read_data_yaml(moved)
    os.chdir(home)
    assert read_data_yaml(moved).root == home, "where the images are, as ultralytics has it"


def test_only_the_split_that_is_evaluated_must_exist(tiny_set: Path) -> None:
    shutil.rmtree(tiny_set.parent / "images" / "train")
    assert len(list_images(read_data_yaml(tiny_set, ("val",)), "val")) == 2
    with pytest.raises(InputError, match="'train: images/train'"):
        read_data_yaml(tiny_set)


@pytest.mark.parametrize("target", [".", "..", "../..", "inner/.."])
def test_links_without_end_are_refused(target: str, tiny_set: Path) -> None:
    """Ultralytics would read every image forty times, or with two such links never end."""
    folder = tiny_set.parent / "images" / "train"
    (folder / "inner").mkdir()
    (folder / "loop").symlink_to(folder / target, target_is_directory=True)
    with pytest.raises(InputError, match="link back to a folder"):
        check_for_training(tiny_set)


def test_pipes_are_refused_and_not_waited_for(tiny_set: Path) -> None:
    folder = tiny_set.parent
    for place in ("images/train/x.jpg", "images/val/a.npy"):
        os.mkfifo(folder / place)
        with pytest.raises(InputError, match="pipe or a device"):
            check_for_training(tiny_set)
        (folder / place).unlink()
    (folder / "images" / "train" / "zero.png").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="pipe or a device"):
        check_for_training(tiny_set)


def test_unlabelled_images_come_in_natural_order(tmp_path: Path, tiny_set: Path) -> None:
    source = tiny_set.parent / "images" / "train" / "a.png"
    pool = tmp_path / "pool"
    pool.mkdir()
    for name in ("img10.png", "img2.png", "IMG1.png", ".hidden.png"):
        shutil.copy(source, pool / name)
    found = find_unlabelled(str(pool), frames_dir=tmp_path / "frames")
    assert [file.name for file in found.files] == ["IMG1.png", "img2.png", "img10.png"]


def test_what_is_passed_over_or_there_twice_is_said(tiny_set: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tiny_set.parent / "images" / "train"
    for suffix in (".jfif", ".jpe", ".JPE", ".gif"):
        shutil.copy(folder / "a.png", folder / f"x{suffix}")
    label = tiny_set.parent / "labels" / "train" / "a.txt"
    label.write_text(label.read_text() * 2)
    tiny_set.write_text(tiny_set.read_text().replace("- cat", "- cup").replace("[cat", "[cup"))
    assert main(["data", "check", str(tiny_set)]) == 0
    said = capfd.readouterr().out
    assert "'train' has 1 .gif, 1 .jfif, 2 .jpe: ultralytics does not read such files" in said
    assert "2 label line(s) of 'train' are there twice and count once" in said
    assert "classes 0, 1 are all called 'cup': they stay different classes" in said
