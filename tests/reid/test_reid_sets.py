"""A set as a whole: what is fatal and what is a note, with the texts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.reid.data.sample import Sample
from kd_yolo.reid.data.sets import read_reid_set
from kd_yolo.reid.data.statistics import Counts, as_markdown, as_table, count
from tests.reid.data_helpers import good_set, made_up, write_image, write_market


def test_a_good_set_has_no_notes(tmp_path: Path) -> None:
    found = read_reid_set(good_set(tmp_path), max_rank=2)
    assert found.notes == ()
    assert (found.name, found.layout) == (tmp_path.name, "Market-1501 names")
    assert {name: len(samples) for name, samples in found.subsets.items()} == {"train": 4, "query": 2, "gallery": 2}
    found.require("train", "query", "gallery")


def test_a_short_gallery(tmp_path: Path) -> None:
    (note,) = read_reid_set(good_set(tmp_path)).notes
    assert note.startswith("the gallery has 2 images, fewer than test.max_rank=50: the CMC curve is filled up")


def test_corrupt_images_are_counted_named_and_left_out(tmp_path: Path) -> None:
    good_set(tmp_path)
    files = sorted((tmp_path / "bounding_box_train").iterdir())[::2]
    files[0].write_bytes(files[0].read_bytes()[:300])
    files[1].write_bytes(b"")
    found = read_reid_set(tmp_path, max_rank=1)
    assert found.notes[0] == (
        f"2 of 4 train image(s) of {tmp_path} cannot be read: {files[0].name}, {files[1].name}. They are left out."
    )
    assert found.notes[1].startswith("2 of 2 train identities have one image")
    assert [sample.identity for sample in found.train] == [1, 2]


def test_headers_alone_do_not_find_a_cut_file(tmp_path: Path) -> None:
    good_set(tmp_path)
    victim = min((tmp_path / "query").iterdir())
    victim.write_bytes(victim.read_bytes()[:-40])
    assert read_reid_set(tmp_path, max_rank=1, decode=False).notes == ()
    assert "1 of 2 query" in read_reid_set(tmp_path, max_rank=1, decode=True).notes[0]


def test_a_subset_without_a_readable_image(tmp_path: Path) -> None:
    good_set(tmp_path)
    for file in (tmp_path / "bounding_box_test").iterdir():
        file.write_text("no image")
    with pytest.raises(InputError, match=r"2 of 2 gallery image\(s\) of .* cannot be read: .* Copy the data again"):
        read_reid_set(tmp_path)


def test_a_listed_image_that_is_missing(tmp_path: Path) -> None:
    for name, line in (
        ("train", "a_0_1_.jpg 0\nb_0_1_.jpg 1\nc_0_1_.jpg 2"),
        ("query", "d_0_1_.jpg 0"),
        ("gallery", "e_0_2_.jpg 0"),
    ):
        (tmp_path / f"list_{name}.txt").write_text(line)
    for place in ("train/a", "train/b", "test/d", "test/e"):
        write_image(tmp_path / f"{place}_0_{2 if place[-1] == 'e' else 1}_.jpg")
    assert any("1 of 3 train image(s)" in note and "c_0_1_.jpg" in note for note in read_reid_set(tmp_path).notes)


def test_an_identity_in_query_but_not_in_gallery(tmp_path: Path) -> None:
    good_set(tmp_path, query=["0011_c1", "0012_c1", "0013_c1", "0013_c2"])
    (note,) = read_reid_set(tmp_path, max_rank=1).notes
    assert note == (
        f"1 of 3 query identities (13) are not in the gallery of {tmp_path}: 2 queries are skipped, as"
        " every protocol does."
    )


def test_no_query_has_anything_to_find(tmp_path: Path) -> None:
    good_set(tmp_path, query=["0021_c1", "0022_c1"])
    with pytest.raises(
        InputError, match=r"2 of 2 query identities \(21, 22\) are not in the gallery .* number people alike"
    ):
        read_reid_set(tmp_path)


def test_queries_that_only_their_own_camera_shows_again(tmp_path: Path) -> None:
    good_set(tmp_path, query=["0011_c1", "0011_c2", "0012_c1"])
    (note,) = read_reid_set(tmp_path, max_rank=1).notes
    assert note.startswith("1 of 3 queries have their identity in the gallery from their own camera only: the protocol")
    assert note.endswith("test.cameras=false counts them.")


def test_a_single_camera(tmp_path: Path) -> None:
    good_set(tmp_path, gallery=["0011_c1", "0012_c1"])
    (note,) = read_reid_set(tmp_path, max_rank=1).notes
    assert note == "all images are of camera 1: ranked by the protocol without cameras."


def test_people_in_train_and_test(tmp_path: Path) -> None:
    train = [f"{identity}_c1" for identity in ("0000", "0001", "0002") for _ in range(2)]
    good_set(tmp_path, query=["0001_c1"], gallery=["0001_c2", "0002_c1", "0000_c1"], train=train)
    assert "1 query and 1 more gallery identities are also in train" in read_reid_set(tmp_path, max_rank=1).notes[-1]


def test_one_image_an_identity(tmp_path: Path) -> None:
    good_set(tmp_path, train=["0001_c1", "0002_c1", "0002_c2"])
    (note,) = read_reid_set(tmp_path, max_rank=1).notes
    assert note.startswith("1 of 2 train identities have one image: a batch repeats it")


def test_one_identity_cannot_be_trained_on(tmp_path: Path) -> None:
    good_set(tmp_path, train=["0001_c1", "0001_c2"])
    with pytest.raises(InputError, match=r"the 2 train images of .* show one identity \(1\)"):
        read_reid_set(tmp_path)


def test_training_alone_and_testing_alone(tmp_path: Path) -> None:
    train = read_reid_set(write_market(tmp_path / "a", train=["0001_c1", "0001_c1", "0002_c2", "0002_c2"]))
    assert train.notes == (
        "no query and gallery: the ranking of held-out training identities is all that can be measured.",
    )
    with pytest.raises(
        InputError, match=r"has no query and no gallery set, only train: name a folder .* data make reid"
    ):
        train.require("query", "gallery")
    test = read_reid_set(write_market(tmp_path / "b", query=["0001_c1"], gallery=["0001_c2"]))
    with pytest.raises(InputError, match=r"has no train set, only query, gallery"):
        test.require("train")


def test_the_hash_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    first = read_reid_set(good_set(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert read_reid_set(tmp_path / "b").sha256 == first.sha256
    file = min((tmp_path / "b" / "query").iterdir())
    file.write_bytes(file.read_bytes() + b"x")
    changed = read_reid_set(tmp_path / "b").sha256
    file.rename(file.with_name(file.name.replace("0011", "0012")))
    assert len({first.sha256, changed, read_reid_set(tmp_path / "b").sha256}) == 3


def test_real_crops(shared: Path) -> None:
    found = read_reid_set(shared / "data" / "reid")
    assert as_markdown(found.subsets).splitlines()[2:] == [
        "| train | 43 | 860 | 6 |", "| query | 11 | 31 | 3 |", "| gallery | 11 | 150 | 3 |"
    ]  # fmt: skip
    assert found.notes == ()


def test_the_table_counts_identities_images_and_cameras() -> None:
    subsets: dict[str, list[Sample]] = {
        "train": made_up((1, 1, 3), (1, 2, 1), (2, 2, 1296)),
        "query": made_up((5, 1, 1)),
    }
    assert count(subsets["train"]) == Counts(2, 1300, 2)
    assert as_markdown(subsets) == (
        "| subset | # ids | # images | # cameras |\n| --- | ---: | ---: | ---: |\n"
        "| train | 2 | 1,300 | 2 |\n| query | 1 | 1 | 1 |\n"
    )
    table = as_table(subsets, "set")
    assert [column.header for column in table.columns] == ["subset", "# ids", "# images", "# cameras"]
    assert table.row_count == 2
