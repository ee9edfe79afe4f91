"""``kd-yolo search index | query | calibrate | forget``: from crops to a ranking, and what bad input gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from kd_yolo.cli.app import main as app
from kd_yolo.cli.search.app import main
from kd_yolo.search.frames.crop_files import LARGEST_PX
from kd_yolo.search.gallery import indexing
from kd_yolo.search.gallery.crop_sources import list_crops, load_crop
from kd_yolo.search.gallery.gallery import Gallery
from tests.reid.data_helpers import write_image
from tests.search.gallery_helpers import row, save_network

CROPS = [
    f"{person:04d}_c{camera}s1_00000{shot}_00.jpg" for person in (3, 18, 21) for camera in (1, 2) for shot in (1, 2)
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network, a ReID set and a gallery, ``g``, that no test changes."""
    folder = tmp_path_factory.mktemp("work")
    save_network(folder / "reid.pt")
    save_network(folder / "other.pt", seed=1)
    for part, names in (("query", CROPS[:2]), ("bounding_box_test", CROPS), ("bounding_box_train", CROPS[:4])):
        for number, name in enumerate(names):
            write_image(folder / "set" / part / name, number)
    assert (
        main(["index", str(folder / "set"), "--weights", str(folder / "reid.pt"), "--gallery", str(folder / "g")]) == 0
    )
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run, with links to what was made."""
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


INDEX = ["index", "set", "--weights", "reid.pt"]


def test_from_a_set_to_a_ranking(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app(["search", *INDEX]) == 0
    out = capsys.readouterr().out
    assert "set: 12 gallery set (Market-1501 names)" in out
    assert "12 crops added, 0 were in already, 0 cannot be read" in out
    assert "results: runs/search/gallery (12 crops, index flat)\nnext:    kd-yolo search query" in out
    assert main(["query", f"set/bounding_box_test/{CROPS[5]}", "--top", "3", "--rerank", "--out", "r.png"]) == 0
    out = capsys.readouterr().out
    first = out.splitlines()[1].split()
    assert first[:2] == ["1", "0.0000"]
    assert first[2:5] == ["5", "1", "18"]
    assert first[5].endswith(CROPS[5])
    assert "no threshold: kd-yolo search calibrate" in out
    assert "next:    kd-yolo search serve --gallery runs/search/gallery --reid" in out
    assert (place / "r.png").is_file()
    assert len(Gallery.open(Path("runs/search/gallery"))) == 12


def test_the_same_again_embeds_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INDEX, "--subset", "query"]) == 0
    assert main([*INDEX, "--subset", "query"]) == 0
    assert "0 crops added, 2 were in already" in capsys.readouterr().out
    assert main(["index", "set"]) == 0
    assert "12 crops added, 0 were in already" in capsys.readouterr().out


def test_an_interrupted_index_goes_on(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "PORTION", 4)
    monkeypatch.setattr(indexing, "BATCH", 4)
    add = Gallery.add
    calls = []

    def once(self: Gallery, *arguments: object) -> int:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return add(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Gallery, "add", once)
    assert main(INDEX) == 130
    assert "4 crops are in runs/search/gallery; the same command goes on" in capsys.readouterr().err
    assert main(INDEX) == 0
    assert "8 crops added, 4 were in already" in capsys.readouterr().out


def test_calibrate_keeps_a_threshold_that_query_uses(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(INDEX) == 0
    assert main(["calibrate", "--pairs", "set", "--far", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "pairs of one person: 12; of two: 48" in out
    assert "warning: only 48 pairs of two people" in out
    threshold = Gallery.open(Path("runs/search/gallery")).threshold
    assert threshold is not None
    assert f"threshold {threshold.distance:.4f}" in out
    assert main(["query", f"set/query/{CROPS[0]}"]) == 0
    out = capsys.readouterr().out
    assert " match " in out.splitlines()[1]
    assert "no threshold" not in out
    assert main(["query", f"set/query/{CROPS[0]}", "--threshold", "-1"]) == 0
    assert " match " not in capsys.readouterr().out


def test_forget(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(INDEX) == 0
    assert main(["forget", "--person", "18", "--dry-run"]) == 0
    assert "4 crops would be removed, 8 stay; nothing was changed" in capsys.readouterr().out
    assert main(["forget", "--person", "18"]) == 0
    assert "4 crops removed with their embeddings, rows and images; 8 stay" in capsys.readouterr().out
    assert main(["forget", "--places", "0", "2"]) == 0
    assert main(["forget", "--source", "set/bounding_box_test"]) == 0
    assert "6 crops removed" in capsys.readouterr().out
    assert main(["query", f"set/query/{CROPS[0]}"]) == 3
    assert "is empty" in capsys.readouterr().err


def test_crops_with_their_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["0000_c1s1_000001_00.jpg", "0000_c1s1_000002_00.jpg", "0000_c1s1_000003_00.jpg"]
    for value, name in enumerate(names):
        write_image(place / "cut" / "crops" / name, value)
    rows = [row(frame, file=f"crops/{name}", track=frame) for frame, name in enumerate(names)]
    pl.DataFrame(rows).write_parquet(place / "cut" / "crops.parquet")
    (place / "cut" / "crops" / names[2]).write_bytes(b"broken")
    assert main(["index", "cut", "--weights", "reid.pt", "--gallery", "h", "--kind", "hnsw"]) == 0
    out = capsys.readouterr().out
    assert "2 crops added, 0 were in already, 1 cannot be read" in out
    assert "warning: cut/crops/0000_c1s1_000003_00.jpg cannot be read as an image" in out
    gallery = Gallery.open(Path("h"))
    assert [(line["source"], line["frame"], line["track"]) for line in gallery.rows([0, 1])] == [
        ("cam1.mp4", 0, 0), ("cam1.mp4", 1, 1),
    ]  # fmt: skip
    assert gallery.image_path(0).read_bytes() == (place / "cut" / "crops" / names[0]).read_bytes()
    assert main(["forget", "--gallery", "h", "--source", "cam1.mp4", "--from", "0.5", "--to", "9"]) == 0
    assert len(Gallery.open(Path("h"))) == 1


def test_a_table_without_lines_is_no_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "cut").mkdir()
    pl.DataFrame(schema=dict(pl.DataFrame([row(0)]).schema)).write_parquet(place / "cut" / "crops.parquet")
    assert main(["index", "cut", "--weights", "reid.pt"]) == 0
    assert "(0 crops, index flat)" in capsys.readouterr().out


def test_a_table_that_leads_elsewhere_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(place / "private.jpg")
    (place / "cut").mkdir()
    pl.DataFrame([row(0, file="../private.jpg")]).write_parquet(place / "cut" / "crops.parquet")
    assert main(["index", "cut", "--weights", "reid.pt"]) == 3
    assert "names cut/../private.jpg, which is not in its folder" in capsys.readouterr().err


def test_plain_folders_and_what_their_names_say(place: Path) -> None:
    folder = place / "my images é"
    for name in ("0018_c2s1_000001_00.jpg", "-1_c1.jpg", "0000_c3.jpg", "sub/anna.png", ".hidden/no.jpg"):
        write_image(folder / name)
    found = list_crops(folder)
    assert found.what == "images"
    known = {source.path.name: (source.row["identity"], source.row["camera"]) for source in found.sources}
    assert known == {
        "0018_c2s1_000001_00.jpg": ("18", 2), "-1_c1.jpg": (None, 1), "0000_c3.jpg": (None, 3), "anna.png": (None, 0),
    }  # fmt: skip
    assert {(source.row["x2"], source.row["y2"]) for source in found.sources} == {(8, 16)}


def test_folders_of_people_keep_their_names(place: Path) -> None:
    for name in ("anna", "bert"):
        write_image(place / "team" / name / "1.jpg")
    found = list_crops(place / "team")
    assert found.what == "train set (identity folders)"
    assert [source.row["identity"] for source in found.sources] == ["anna", "bert"]


def test_images_of_all_kinds_become_jpegs(place: Path) -> None:
    folder = place / "kinds"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 20, 4), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise[..., :3]).save(folder / "turned.jpg", exif=turned)
    Image.fromarray(noise[..., :3]).save(folder / "plain.jpg")
    Image.fromarray(noise).convert("CMYK").save(folder / "print.jpg")
    Image.fromarray(noise).save(folder / "clear.png")
    Image.fromarray(noise[..., 0]).save(folder / "grey.png")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(np.zeros((3000, 1000, 3), np.uint8)).save(folder / "large.jpg")
    crops = {source.path.stem: load_crop(source) for source in list_crops(folder).sources}
    for name, crop in crops.items():
        assert crop.jpeg.startswith(b"\xff\xd8\xff")
        assert crop.image_hw3.ndim == 3
        expected = {"turned": (20, 40), "large": (LARGEST_PX, 171)}.get(name, (40, 20))
        assert crop.image_hw3.shape[:2] == expected
    assert (crops["turned"].row["x2"], crops["turned"].row["y2"]) == (40, 20)
    assert crops["plain"].jpeg == (folder / "plain.jpg").read_bytes()
    assert crops["turned"].jpeg != (folder / "turned.jpg").read_bytes()
    np.testing.assert_allclose(crops["deep"].image_hw3, crops["grey"].image_hw3, atol=1)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["index", "none", "--weights", "reid.pt"], 3, "no folder none"),
        (["index", "set"], 2, "--weights is missing: runs/search/gallery is new"),
        (["index", "set", "--weights", "none.pt"], 3, "network 'none.pt' cannot be opened"),
        ([*INDEX, "--kind", "hnws"], 2, "Did you mean 'hnsw'?"),
        ([*INDEX, "--subset", "galery"], 2, "Did you mean 'gallery'?"),
        (["index", "set/query", "--weights", "reid.pt", "--subset", "train"], 2, "is no ReID set"),
        (["query", "none.jpg"], 3, "no image none.jpg"),
        (["query", f"set/query/{CROPS[0]}", "--gallery", "none"], 3, "none is no gallery"),
        (["query", f"set/query/{CROPS[0]}", "--gallery", "g", "--weights", "other.pt"], 3, "cannot be compared"),
        (["query", "reid.pt", "--gallery", "g"], 3, "cannot be read as"),
        (["calibrate", "--pairs", "none", "--gallery", "g"], 3, "no folder none"),
        (["forget", "--gallery", "g"], 2, "forget whom?"),
        (["forget", "--gallery", "g", "--person", "99"], 3, "Known (identity): 18, 21, 3"),
    ],
)
def test_bad_input(place: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str) -> None:
    assert main(words) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (f"query set/query/{CROPS[0]} --top 0", "--top: Input should be greater than or equal to 1 (got '0')"),
        ("calibrate --pairs set --far 2", "--far: Input should be less than 1 (got '2')"),
        ("index set --device foo", "--device: unknown device 'foo': expected cpu, cuda, cuda:1 or 0."),
        ("forget --places one", "--places: Input should be a valid integer"),
    ],
)
def test_a_flag_of_a_wrong_value(capsys: pytest.CaptureFixture[str], words: str, message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_another_network_adds_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(INDEX) == 0
    assert main(["index", "set", "--subset", "train", "--weights", "other.pt"]) == 3
    assert "was made by the network" in capsys.readouterr().err
    assert len(Gallery.open(Path("runs/search/gallery"))) == 12


def test_a_network_that_has_moved(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "copy.pt").write_bytes((place / "reid.pt").read_bytes())
    assert main(["index", "set", "--weights", "copy.pt"]) == 0
    (place / "copy.pt").unlink()
    question = ["query", f"set/query/{CROPS[0]}"]
    assert main(question) == 3
    assert "is not where it was" in capsys.readouterr().err
    assert main([*question, "--weights", "reid.pt"]) == 0


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main([]), main(["--help"]), main(["qurey"])) == (2, 0, 2)
    captured = capsys.readouterr()
    assert "index|query|calibrate|forget|track|link|serve" in captured.out
    assert "Did you mean 'query'?" in captured.err
