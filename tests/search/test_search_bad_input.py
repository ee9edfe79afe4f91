"""Bad input to every command of search and crops: the documented exit code, one message, an unharmed gallery."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("faiss", reason="needs the extra search")

from tests.search.bad_helpers import CROPS, code_of, content

QUERY = f"query set/query/{CROPS[0]} --gallery g"
GALLERY_CASES = [
    ("index none --gallery g", 3),
    ("index pipe --gallery g", 3),
    ("index cam1.avi --gallery g", 3),
    ("index empty --gallery g", 3),
    ("index nofile --gallery g", 3),
    ("index escape --gallery g", 3),
    ("index notable --gallery g", 3),
    ("index set --gallery g --kind x", 2),
    ("index set --gallery g --subset x", 2),
    ("index set --gallery g --weights pipe", 3),
    ("index set --gallery g --weights bad.onnx", 3),
    ("index set --gallery g --weights cam1.avi", 3),
    ("index set --gallery full --weights reid.pt", 2),
    ("index set --gallery cam1.avi --weights reid.pt", 2),
    (f"index {'x' * 300} --gallery g", 3),
    (f"index set --gallery {'x/' * 3000}", 3),
    ("index set --galery g", 2),
    ("query", 2),
    ("query none.jpg --gallery g", 3),
    ("query pipe.jpg --gallery g", 3),
    ("query /dev/zero --gallery g", 3),
    ("query text.jpg --gallery g", 3),
    ("query empty.png --gallery g", 3),
    ("query bomb.png --gallery g", 3),
    ("query set --gallery g", 3),
    ("query a\0b --gallery g", 3),
    (f"query {'x' * 300} --gallery g", 3),
    (f"{QUERY} --top 0", 2),
    (f"{QUERY} --top -5", 2),
    (f"{QUERY} --top 1e9", 2),
    (f"{QUERY} --top 1000000000", 2),
    (f"{QUERY} --threshold nan", 2),
    (f"{QUERY} --threshold inf", 2),
    (f"{QUERY} --threshold 3", 2),
    (f"{QUERY} --nth 0", 2),
    (f"{QUERY} --whole --nth 1", 2),
    (f"{QUERY} --whole --detector yolov8n.pt", 2),
    (f"{QUERY} --detector none.pt", 3),
    (f"{QUERY} --detector pipe", 3),
    (f"{QUERY} --out x.foo", 2),
    (f"{QUERY} --out x", 2),
    (f"{QUERY} --out x.mp4", 2),
    (f"{QUERY} --out empty", 2),
    (f"{QUERY} --weights none.pt", 3),
    (f"query set/query/{CROPS[0]} --gallery none", 3),
    (f"query set/query/{CROPS[0]} --gallery cam1.avi", 3),
    (f"query set/query/{CROPS[0]} --gallery pipe", 3),
    ("calibrate --pairs none --gallery g", 3),
    ("calibrate --pairs set --gallery g --far 0", 2),
    ("calibrate --pairs set --gallery g --far nan", 2),
    ("calibrate --pairs set --gallery g --far -1", 2),
    ("calibrate --pairs set --gallery g --far 1", 2),
    ("calibrate --pairs empty --gallery g", 3),
    ("calibrate --gallery g", 2),
    ("forget --gallery g", 2),
    ("forget --gallery g --source /", 2),
    ("forget --gallery g --source .", 2),
    ("forget --gallery g --track 1", 2),
    ("forget --gallery g --from nan", 2),
    ("forget --gallery g --to nan", 2),
    ("forget --gallery g --from 5 --to 1", 2),
    ("forget --gallery g --from -1", 2),
    ("forget --gallery g --from inf", 2),
    ("forget --gallery g --places", 2),
    ("forget --gallery g --places x", 2),
    ("forget --gallery g --places 999", 3),
    ("forget --gallery g --person nobody", 3),
    ("forget --gallery none --person 1", 3),
    ("forget --gallery pipe --person 1", 3),
    ("serve --port 65536", 2),
    ("serve --port -1", 2),
    ("serve --port 1.5", 2),
    ("serve --port 0 --gallery none", 3),
    ("serve --port 0 --gallery g --max-mb -1", 2),
    ("serve --port 0 --gallery g --max-mb nan", 2),
    ("serve --port 0 --gallery g --max-megapixels 0", 2),
    ("serve --port 0 --gallery g --conf 2", 2),
    ("serve --port 0 --gallery g --conf nan", 2),
    ("serve --port 0 --gallery g --imgsz 0", 2),
    ("serve --port 0 --gallery g --reid none.pt", 3),
    ("serve --port 0 --gallery g --reid pipe", 3),
]


@pytest.mark.parametrize(("line", "code"), GALLERY_CASES, ids=lambda value: str(value)[:60])
def test_galleries(line: str, code: int, bad_place: Path, bad_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(bad_files / "g")
    assert code_of(["search", *line.split(" ")]) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.strip()
    assert len(err) < 4000
    assert content(bad_files / "g") == before
    assert not (bad_place / "ranking.png").exists()


@pytest.mark.parametrize("flag", ["--source", "--person"])
@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--places", "0"], ["--from", "0"]])
@pytest.mark.parametrize("value", ["", " ", "\t"])
def test_an_unset_variable_of_the_shell(
    flag: str, more: list[str], value: str, bad_place: Path, bad_files: Path
) -> None:
    before = content(bad_files / "g")
    assert code_of(["search", "forget", "--gallery", "g", flag, value, *more]) == 2
    assert content(bad_files / "g") == before


TRACK = "track cam1.avi --out run --no-video"
TRACK_CASES = [
    ("track", 2),
    ("track none.mp4 --out run", 3),
    ("track pipe --out run", 3),
    ("track /dev/zero --out run", 3),
    ("track text.mp4 --out run", 3),
    ("track empty.mp4 --out run", 3),
    ("track noise.mp4 --out run", 3),
    ("track empty --out run", 3),
    ("track self.txt --out run", 3),
    ("track bin.txt --out run", 3),
    ("track gone.txt --out run", 3),
    ("track text.jpg --out run", 3),
    ("track bomb.png --out run", 3),
    ("track cam1.avi cam1.avi --out run", 2),
    (f"track {'x' * 300} --out run", 3),
    ("track cam1.avi --out cam1.csv", 2),
    (f"{TRACK} --tracker nope", 2),
    (f"{TRACK} --tracker none.yaml", 2),
    (f"{TRACK} --tracker bad.yaml", 2),
    (f"{TRACK} --tracker list.yaml", 2),
    (f"{TRACK} --tracker nokind.yaml", 2),
    (f"{TRACK} --tracker tracker.yaml --start 0.5", 2),
    (f"{TRACK} --tracker bytetrack --moving", 2),
    (f"{TRACK} --tracker ocsort --appearance 0.5", 2),
    (f"{TRACK} --appearance 0.5", 2),
    (f"{TRACK} --appearance nan", 2),
    (f"{TRACK} --proximity 0.5", 2),
    (f"{TRACK} --link 0.3", 2),
    (f"{TRACK} --link nan", 2),
    (f"{TRACK} --link -1", 2),
    (f"{TRACK} --start nan", 2),
    (f"{TRACK} --start 0", 2),
    (f"{TRACK} --start 1", 2),
    (f"{TRACK} --buffer 0", 2),
    (f"{TRACK} --best 0", 2),
    (f"{TRACK} --min-frames 0", 2),
    (f"{TRACK} --imgsz 0", 2),
    (f"{TRACK} --imgsz 100000", 2),
    (f"{TRACK} --reid none.onnx", 3),
    (f"{TRACK} --reid reid.pt", 3),
    (f"{TRACK} --reid bad.onnx", 3),
    (f"{TRACK} --truth none", 3),
    (f"{TRACK} --truth pipe", 3),
    (f"{TRACK} --truth none.csv", 3),
    (f"{TRACK} --truth twice.csv", 3),
    (f"{TRACK} --truth words.csv", 3),
    (f"{TRACK} --truth cars.csv", 3),
    (f"{TRACK} --truth bin.txt", 3),
    (f"{TRACK} --truth cam1.csv cam1.csv", 2),
    (f"{TRACK} --truth cam1.csv --same-people", 2),
    ("link none", 3),
    ("link empty", 3),
    ("link cam1.avi", 3),
    ("link empty --threshold nan", 2),
    ("link empty --threshold 3", 2),
    ("link empty --threshold -1", 2),
]


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(("line", "code"), TRACK_CASES, ids=lambda value: str(value)[:60])
def test_tracks(line: str, code: int, bad_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["search", *line.split(" ")]) == code
    err = capsys.readouterr().err
    assert err.strip()
    assert "Traceback" not in err
    assert not (bad_place / "run" / "persons.csv").exists()


CROPS_CASES = [
    ("none.mp4", 3),
    ("pipe", 3),
    ("pipe.jpg", 3),
    ("/dev/zero", 3),
    ("text.mp4", 3),
    ("empty.png", 3),
    ("bomb.png", 3),
    ("empty", 3),
    ("self.txt", 3),
    ("bin.txt", 3),
    ("gone.txt", 3),
    ("none/*.jpg", 3),
    ("a\0b", 3),
    ("x" * 300, 3),
    ("cam1.avi --out full", 2),
    ("cam1.avi --out cam1.csv", 2),
    ("cam1.avi --conf nan", 2),
    ("cam1.avi --conf 1", 2),
    ("cam1.avi --iou 0", 2),
    ("cam1.avi --batch 0", 2),
    ("cam1.avi --stride 0", 2),
    ("cam1.avi --camera -1", 2),
    ("cam1.avi --pad nan", 2),
    ("cam1.avi --pad 2", 2),
    ("cam1.avi --aspect 0", 2),
    ("cam1.avi --aspect inf", 2),
    ("cam1.avi --blur-min -1", 2),
    ("cam1.avi --blur-min inf", 2),
    ("cam1.avi --max-truncated 5", 2),
    ("cam1.avi --min-height 0", 2),
    ("cam1.avi --imgsz 1", 2),
    ("cam1.avi --workers 2", 2),
    ("cam1.avi --engine x", 2),
    ("cam1.avi --recipe none", 2),
    ("cam1.avi --recipe bad.yaml", 2),
    ("cam1.avi --embed none.pt", 3),
    ("cam1.avi --embed pipe", 3),
]


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(("line", "code"), CROPS_CASES, ids=lambda value: str(value)[:60])
def test_crops(line: str, code: int, bad_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["crops", *line.split(" ")]) == code
    err = capsys.readouterr().err
    assert err.strip()
    assert "Traceback" not in err
