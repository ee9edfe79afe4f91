"""Vectors beside crops: those that ``search index`` would make, taken by it without embedding, of one network only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
import pytest

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.cli.app import main
from kd_yolo.search.crops import ledger
from kd_yolo.search.frames.crop_files import read_crop
from kd_yolo.search.frames.crop_vectors import StoredVectors, write_vectors
from kd_yolo.search.gallery.crop_sources import list_crops
from kd_yolo.search.gallery.gallery import Gallery
from kd_yolo.search.gallery.indexing import embed_crops, index_crops
from kd_yolo.search.networks.embedder import Embedder
from kd_yolo.search.settings import CropsConfig
from tests.search.crops_helpers import CONFIG, content, run, use_bright_detector, walk, write_video
from tests.search.gallery_helpers import save_network


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return save_network(tmp_path / "reid.pt")


@pytest.fixture
def config(network: Path, monkeypatch: pytest.MonkeyPatch) -> CropsConfig:
    monkeypatch.setattr(ledger, "PART_FRAMES", 4)
    use_bright_detector(monkeypatch)
    return CONFIG.model_copy(update={"embed": str(network)})


def test_they_are_those_of_the_files_and_index_takes_them(
    tmp_path: Path, network: Path, config: CropsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, embedder = tmp_path / "out", Embedder.open(network)
    run(write_video(tmp_path / "v.avi", walk(23)), out, config)
    rows, _ = content(out)
    stored = StoredVectors.open(out)
    assert stored is not None
    assert stored.network == embedder.hash
    for row in rows:
        vector_d = stored.find(row["file"])
        assert vector_d is not None
        np.testing.assert_allclose(vector_d, embedder.embed([read_crop(out / row["file"])])[0], atol=1e-5)
    assert stored.find("crops/other.jpg") is None
    plain = embed_crops(Embedder.open(save_network(tmp_path / "other.pt", seed=1)), list_crops(out).sources)[0]
    embedded = []
    monkeypatch.setattr(Embedder, "embed", lambda self, images, batch=64: (
        embedded.append(len(images)) or np.empty((len(images), self.dim), np.float32)
    ))  # fmt: skip
    gallery = Gallery.create(tmp_path / "gallery", embedder.hash, embedder.dim)
    report = index_crops(gallery, embedder, list_crops(out).sources, print)
    assert (report.added, sum(embedded)) == (len(rows), 0)
    places, _ = gallery.query(np.stack([stored.find(row["file"]) for row in rows]), 1)  # type: ignore[misc]
    frames = [row["frame"] for row in gallery.rows(places[:, 0])]
    assert np.mean([frame == row["frame"] for frame, row in zip(frames, rows, strict=True)]) > 0.3  # twins are equal
    assert not np.allclose(plain, gallery.vectors(list(range(len(rows)))), atol=1e-2), "others are not taken"


def test_stopped_and_continued_has_all(tmp_path: Path, config: CropsConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = write_video(tmp_path / "v.avi", walk(23)), tmp_path / "out"
    add, count = ledger.Ledger.add, [0]

    def interrupted(self: ledger.Ledger, note: ledger.Note) -> None:
        add(self, note)
        count[0] += 1
        if count[0] == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(ledger.Ledger, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(source, out, config)
    run(source, out, config)
    files = polars.read_parquet(out / "vectors" / "*.parquet")["file"].to_list()
    assert sorted(files) == sorted(row["file"] for row in content(out)[0])
    with pytest.raises(ConfigError, match=r"embed: there '[0-9a-f]{16}', asked for None"):
        run(source, out, CONFIG)


def test_frames_without_people_have_none(tmp_path: Path, config: CropsConfig) -> None:
    run(write_video(tmp_path / "v.avi", walk(1)), tmp_path / "out", config)
    assert StoredVectors.open(tmp_path / "out") is None
    assert not (tmp_path / "out" / "vectors").exists()
    assert write_vectors(tmp_path, 1, [], [None, np.empty((0, 4), np.float32)]) is None


def test_a_damaged_part_is_named(tmp_path: Path, config: CropsConfig) -> None:
    run(write_video(tmp_path / "v.avi", walk(9)), tmp_path / "out", config)
    part = next((tmp_path / "out" / "vectors").iterdir())
    part.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"is damaged .*remove the folder .*vectors, and search index embeds"):
        list_crops(tmp_path / "out")


def test_the_command_says_which_network_comes_next(
    tmp_path: Path, config: CropsConfig, network: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "v.avi", walk(4))
    words = ["crops", "v.avi", "--min-height", "8", "--min-width", "4", "--out", "out", "--embed"]
    assert main([*words, "reid.pt"]) == 0
    said = capsys.readouterr().out
    assert "results: out (crops/, crops.parquet, vectors/)" in said
    assert "next:    kd-yolo search index out --weights reid.pt" in said
    assert main([*words, "none.pt"]) == 3
    assert "network 'none.pt' cannot be opened" in capsys.readouterr().err
