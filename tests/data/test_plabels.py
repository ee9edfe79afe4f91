"""The customer's label format with parents: every kind of bad line is told with file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_yolo.base.errors import InputError
from kd_yolo.data.plabels import ParentLabels, format_plabels, parse_plabels, plabel_path, raise_problems

ROOT = "0 0.5 0.5 0.8 0.6 0 0 0 0 -1"
CHILD = "2 0.4 0.5 0.2 0.2 0.5 0.5 0.8 0.6 0"


def write(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "a.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def read_plabels(file: Path, num_classes: int | None = None) -> ParentLabels:
    labels, problems = parse_plabels(file, num_classes)
    raise_problems(problems)
    return labels


def test_a_good_file(tmp_path: Path) -> None:
    labels = read_plabels(write(tmp_path, ROOT, CHILD), 3)
    assert labels.classes.tolist() == [0, 2]
    assert labels.parents.tolist() == [-1, 0]
    np.testing.assert_allclose(labels.boxes_cxcywh, [(0.5, 0.5, 0.8, 0.6), (0.4, 0.5, 0.2, 0.2)])
    np.testing.assert_allclose(labels.boxes_xyxy(100, 200), [(10, 40, 90, 160), (30, 80, 50, 120)])


def test_a_parent_may_come_after_its_child(tmp_path: Path) -> None:
    assert read_plabels(write(tmp_path, CHILD[:-1] + "1", ROOT)).parents.tolist() == [1, -1]


@pytest.mark.parametrize("text", ["", "\n\n", "  \n"])
def test_an_empty_file_has_no_boxes(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    labels = read_plabels(tmp_path / "a.txt")
    assert (labels.classes.shape, labels.boxes_cxcywh.shape, labels.parents.shape) == ((0,), (0, 4), (0,))
    assert labels.boxes_xyxy(10, 10).shape == (0, 4)


def test_empty_lines_at_the_end_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + f"{ROOT}\r\n{CHILD}\r\n\r\n".encode())
    assert read_plabels(tmp_path / "a.txt").parents.tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.4 0.5 0.2 0.2", "has 5 columns, expected 10"),
        (CHILD + " 7", "has 11 columns, expected 10"),
        (CHILD.replace("0.4", "x"), "'2 x 0.5 .*' is not all numbers"),
        (CHILD.replace("2 ", "3 ", 1), r"class 3, expected 0\.\.2"),
        (CHILD.replace("2 ", "-1 ", 1), "class -1"),
        (CHILD.replace("2 ", "1.5 ", 1), r"class 1\.5"),
        (CHILD.replace("0.4", "1.4"), r"coordinate 1\.4, expected shares"),
        (CHILD.replace("0.4", "nan"), "coordinate nan"),
        (CHILD.replace("0.4", "-0.4"), r"coordinate -0\.4"),
        (CHILD.replace("0.8", "80"), "coordinate 80"),
        (CHILD.replace("0.2 0.2", "0.2 -0.005"), r"size -0\.005 is negative"),
        (CHILD[:-1] + "2", r"parent line 2, but the lines are 0\.\.1"),
        (CHILD[:-1] + "-2", "parent line -2, expected -1"),
        (CHILD[:-1] + "0.5", r"parent line 0\.5"),
        (CHILD[:-1] + "nan", "parent line nan"),
        (CHILD[:-1] + "1", r"is its own parent \(1\)"),
        (CHILD[:-1] + "-1", "has a parent's box but parent line -1"),
        (CHILD.replace("0.8", "0.7"), r"the parent's box is not that of line 0 \(counted from 0\)"),
    ],
)
def test_a_bad_line_is_told_with_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"1 bad label line\(s\): .*a\.txt:2: {message}"):
        read_plabels(write(tmp_path, ROOT, line), 3)


def test_an_empty_line_between_would_shift_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.txt:2: is empty"):
        read_plabels(write(tmp_path, ROOT, "", CHILD))


def test_parents_in_a_circle_are_told(tmp_path: Path) -> None:
    box = "0.5 0.5 0.2 0.2"
    lines = [f"0 {box} {box} {parent}" for parent in (1, 2, 3, 1)]
    with pytest.raises(InputError, match=r"a\.txt:2: is its own ancestor: 1 -> 2 -> 3 -> 1 \(lines counted from 0\)"):
        read_plabels(write(tmp_path, *lines))


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"9 bad label.*a\.txt:5: .* and 4 more\. A plabels line is 'class cx cy w h"):
        read_plabels(write(tmp_path, *["x"] * 9))


def test_missing_and_binary_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.txt does not exist"):
        read_plabels(tmp_path / "gone.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"a\.txt:1: not a text file"):
        read_plabels(tmp_path / "a.txt")


def test_a_class_may_be_any_without_a_number_of_classes(tmp_path: Path) -> None:
    assert read_plabels(write(tmp_path, "70" + ROOT[1:])).classes.tolist() == [70]


def test_parents_boxes_may_be_rounded(tmp_path: Path) -> None:
    assert read_plabels(write(tmp_path, ROOT, CHILD.replace("0.8", "0.801"))).parents.tolist() == [-1, 0]


@given(st.data())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 8))
    share = st.integers(0, 1000).map(lambda n: n / 1000)
    boxes = [data.draw(st.tuples(share, share, share, share)) for _ in range(count)]
    order = data.draw(st.permutations(range(count)))
    parents = [-1] * count
    for place, node in enumerate(order[1:], start=1):
        parents[node] = data.draw(st.sampled_from([-1, *order[:place]]))
    classes = [data.draw(st.integers(0, 6)) for _ in range(count)]
    file = tmp_path_factory.mktemp("p") / "a.txt"
    file.write_text(format_plabels(classes, boxes, parents))
    labels = read_plabels(file, 7)
    assert (labels.classes.tolist(), labels.parents.tolist()) == (classes, parents)
    np.testing.assert_allclose(labels.boxes_cxcywh, np.array(boxes).reshape(-1, 4))


def test_the_text_is_the_customers() -> None:
    text = format_plabels([0, 2], [(0.5, 0.5, 0.8, 0.6), (0.4, 0.5, 0.2, 0.2)], [-1, 0])
    assert text == (
        "0 0.500000 0.500000 0.800000 0.600000 0.000000 0.000000 0.000000 0.000000 -1\n"
        "2 0.400000 0.500000 0.200000 0.200000 0.500000 0.500000 0.800000 0.600000 0\n"
    )


def test_what_cannot_be_written_is_told() -> None:
    box = (0.5, 0.5, 0.1, 0.1)
    with pytest.raises(InputError, match="1 classes for 2 boxes"):
        format_plabels([0], [box, box], [-1, -1])
    with pytest.raises(InputError, match=r"parents\[1\] is 1"):
        format_plabels([0, 0], [box, box], [-1, 1])
    with pytest.raises(InputError, match="not shares"):
        format_plabels([0], [(50, 50, 10, 10)], [-1])
    with pytest.raises(InputError, match="each other's parents"):
        format_plabels([0, 0], [box, box], [1, 0])


def test_the_twin_of_a_image() -> None:
    assert plabel_path(Path("/d/images/set/images/val/a.b.jpg")) == Path("/d/images/set/plabels/val/a.b.txt")
    assert plabel_path(Path("/d/a.jpg")) == Path("/d/a.txt")
