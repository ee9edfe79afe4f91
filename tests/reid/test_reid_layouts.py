"""Each layout is recognised by what is in the folder, and what is not understood is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.reid.data.layouts import Listing, read_layout
from tests.reid.data_helpers import write_image, write_market


def facts(listing: Listing) -> dict[str, list[tuple[str, int, int]]]:
    return {
        subset: [(s.path.name, s.identity, s.camera) for s in samples] for subset, samples in listing.subsets.items()
    }


def test_market_names_junk_and_distractors(tmp_path: Path) -> None:
    write_market(
        tmp_path, train=["0002_c1", "0007_c6"], query=["0003_c2"], gallery=["0003_c5", "0000_c1", "-1_c3", "-1_c3"]
    )
    (tmp_path / "query" / "Thumbs.db").write_text("no image")
    listing = read_layout(tmp_path)
    assert facts(listing) == {
        "train": [("0002_c1s1_000000_00.jpg", 2, 1), ("0007_c6s1_000001_00.jpg", 7, 6)],
        "query": [("0003_c2s1_000000_00.jpg", 3, 2)],
        "gallery": [("0000_c1s1_000001_00.jpg", 0, 1), ("0003_c5s1_000000_00.jpg", 3, 5)],
    }
    assert listing.notes == ("bounding_box_test: 2 junk image(s) (identity -1) dropped.",)
    assert listing.names == {}


def test_duke_and_flat_msmt17_names(tmp_path: Path) -> None:
    write_image(tmp_path / "bounding_box_train" / "0001_c2_f0046182.jpg")
    write_image(tmp_path / "bounding_box_train" / "0017_c15_0034.jpg")
    assert [(s.identity, s.camera) for s in read_layout(tmp_path).subsets["train"]] == [(1, 2), (17, 15)]


def test_names_that_say_nothing_are_counted(tmp_path: Path) -> None:
    write_market(tmp_path, train=["0001_c1", "0002_c1"])
    for name in ("alice.jpg", "1-2_c1.jpg", "-7_c1.jpg", "x_c1.jpg", "._0001_c1.jpg"):
        write_image(tmp_path / "bounding_box_train" / name)
    (note,) = read_layout(tmp_path).notes
    assert note == (
        "bounding_box_train: 4 image(s) passed over, no name as 0002_c1s1_000451_03.jpg (identity, camera):"
        " -7_c1.jpg, 1-2_c1.jpg, alice.jpg and 1 more."
    )


def test_identity_0_in_training_is_said(tmp_path: Path) -> None:
    write_market(tmp_path, train=["0000_c1", "0000_c2", "0001_c1"])
    listing = read_layout(tmp_path)
    assert len(listing.subsets["train"]) == 3
    assert "2 train image(s) have identity 0" in listing.notes[0]


def test_plain_names_of_the_subsets(tmp_path: Path) -> None:
    for place, name in (("train", "0003_c1s1_1_0"), ("query", "0018_c1s1_1_0"), ("gallery", "0018_c2s1_1_0")):
        write_image(tmp_path / place / f"{name}.png")
    assert {k: v[0][1:] for k, v in facts(read_layout(tmp_path)).items()} == {
        "train": (3, 1), "query": (18, 1), "gallery": (18, 2)
    }  # fmt: skip


def test_msmt17_lists(tmp_path: Path) -> None:
    lists = {
        "list_train.txt": "0000/0000_000_01_0303morning_0015_0.jpg 0\n0003/0003_001_14_0303noon_0033_1.jpg 3\n",
        "list_val.txt": "0000/0000_011_07_0303morning_0028_2.jpg 0\n\n",
        "list_query.txt": "0000/0000_004_05_0303morning_1155_0.jpg 0\n",
        "list_gallery.txt": "0000/0000_001_04_0303morning_0020_0_ex.jpg 0\n0001/0001_000_05_0303noon_0020_0.jpg 1\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"no images: expected train/ and test/ or mask_train_v2/ and mask_test_v2/"):
        read_layout(tmp_path)
    (tmp_path / "mask_train_v2").mkdir()
    (tmp_path / "mask_test_v2").mkdir()
    listing = read_layout(tmp_path)
    assert [(s.identity, s.camera) for s in listing.subsets["train"]] == [(0, 1), (3, 14), (0, 7)]
    assert [(s.identity, s.camera) for s in listing.subsets["query"]] == [(4, 5)], "0 goes on after 3"
    assert [(s.identity, s.camera) for s in listing.subsets["gallery"]] == [(4, 4), (5, 5)]
    assert listing.subsets["train"][0].path == tmp_path / "mask_train_v2/0000/0000_000_01_0303morning_0015_0.jpg"
    assert listing.subsets["query"][0].path.parts[-3:-1] == ("mask_test_v2", "0000")
    assert listing.notes == ("MSMT17 numbers test identities from 0 again: here they begin at 4.",)


@pytest.mark.parametrize("line", ["0000/0000_000_01_x.jpg", "0000/0000_000_01_x.jpg one", "0000/0000_x.jpg 0", " 7"])
def test_a_bad_line_of_a_list_is_named(tmp_path: Path, line: str) -> None:
    for name in ("list_train.txt", "list_query.txt", "list_gallery.txt"):
        (tmp_path / name).write_text(f"0000/0000_000_01_x.jpg 0\n{line}\n")
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(InputError, match=rf"list_train.txt, line 2: '{line.strip()}', expected path and identity"):
        read_layout(tmp_path)


def test_identity_folders_with_numbers(tmp_path: Path) -> None:
    for identity, count in (("007", 2), ("12", 1)):
        for number in range(count):
            write_image(tmp_path / identity / f"{number}.jpg")
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "loose.jpg")
    (tmp_path / "empty").rename(tmp_path / "99")
    listing = read_layout(tmp_path)
    assert facts(listing) == {"train": [("0.jpg", 7, 0), ("1.jpg", 7, 0), ("0.jpg", 12, 0)]}
    assert listing.names == {}
    assert listing.notes == (
        ".: 1 image(s) passed over, in no identity folder: loose.jpg.",
        ".: 1 identity folder(s) without images: 99.",
    )


def test_identity_folders_with_names_in_three_subsets(tmp_path: Path) -> None:
    for place in ("train/alice", "train/bob", "query/carol", "gallery/carol", "gallery/7"):
        write_image(tmp_path / place / "1.jpg")
    listing = read_layout(tmp_path)
    assert listing.names == {0: "7", 1: "alice", 2: "bob", 3: "carol"}
    assert [s.identity for s in listing.subsets["train"]] == [1, 2]
    assert [s.identity for s in listing.subsets["query"]] == [3]
    assert [s.identity for s in listing.subsets["gallery"]] == [0, 3]


def test_the_same_number_written_twice_is_two_people(tmp_path: Path) -> None:
    for name in ("1", "01"):
        write_image(tmp_path / name / "1.jpg")
    assert read_layout(tmp_path).names == {0: "01", 1: "1"}


def test_no_folder() -> None:
    with pytest.raises(InputError, match=r"no ReID folder 'nowhere'\. .*kd-yolo data make reid"):
        read_layout(Path("nowhere"))


def test_an_unknown_layout_lists_what_was_looked_for(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    with pytest.raises(InputError) as caught:
        read_layout(tmp_path)
    text = str(caught.value)
    assert "(it has a.jpg)" in text
    for part in (
        "bounding_box_train/ query/ bounding_box_test",
        "list_train.txt",
        "train/ query/ gallery",
        "<identity>/",
    ):
        assert part in text


def test_a_folder_too_high_is_corrected(tmp_path: Path) -> None:
    write_market(tmp_path / "Market-1501-v15.09.15", train=["0001_c1"])
    with pytest.raises(InputError, match=r"Did you mean .*Market-1501-v15\.09\.15\? Looked for"):
        read_layout(tmp_path)


@pytest.mark.parametrize(("here", "gone"), [("query", "bounding_box_test"), ("bounding_box_test", "query")])
def test_half_a_ranking_is_none(tmp_path: Path, here: str, gone: str) -> None:
    for place in ("bounding_box_train", here):
        write_image(tmp_path / place / "0001_c1s1_1_1.jpg")
    with pytest.raises(InputError, match=rf"has {here}/ but no {gone}/: a ranking needs both"):
        read_layout(tmp_path)


def test_an_empty_gallery(tmp_path: Path) -> None:
    write_market(tmp_path, train=["0001_c1"], query=["0002_c1"], gallery=["-1_c1"])
    with pytest.raises(
        InputError, match=r"the gallery set of .* is empty: .* 1 junk image\(s\) \(identity -1\) dropped"
    ):
        read_layout(tmp_path)
