"""What a command takes when it could take two things: whole images or crops, trackers, thresholds, normalisation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("faiss", reason="needs the extra search")

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.cli.run import parse_flags
from kd_yolo.cli.search import gallery as search_gallery
from kd_yolo.cli.search.app import main
from kd_yolo.cli.search.flags import ABOUT, Query
from kd_yolo.search.frames.frame_types import ImageHW3
from kd_yolo.search.gallery.calibrate import is_worse
from kd_yolo.search.gallery.files import Threshold
from kd_yolo.search.gallery.query_image import is_crop_shaped, person_in
from kd_yolo.search.tracks.follow import track_video
from kd_yolo.search.tracks.rules import TrackRules
from kd_yolo.search.tracks.settings import check_used, settings_of
from tests.search.page_helpers import GREEN, RED, FakeDetector, scene
from tests.search.track_helpers import tools, write_two


@pytest.mark.parametrize(
    ("width", "height", "is_crop"),
    [(64, 128, True), (100, 120, True), (100, 100, False), (768, 432, False), (1080, 1920, False), (20, 600, True)],
)
def test_what_looks_like_a_crop(width: int, height: int, is_crop: bool, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((height, width, 3), np.uint8))
    assert is_crop_shaped(tmp_path / "a.png") == is_crop


def test_a_person_of_a_whole_image(tmp_path: Path) -> None:
    image = scene((30, RED), (200, GREEN))
    image[60:70, 200:240] = 128  # green is smaller
    cv2.imwrite(str(tmp_path / "a.png"), image)
    said: list[str] = []
    for nth, colour in ((None, RED), (1, RED), (2, GREEN)):
        crop_hw3 = person_in(tmp_path / "a.png", FakeDetector(), nth, said.append)
        assert crop_hw3.shape[0] < 140
        assert tuple(crop_hw3[60, 20, ::-1]) == colour, "RGB"
    assert "2 people found, number 1 is looked for" in said[0]
    assert "--nth 2 takes the next largest" in said[0]
    with pytest.raises(ConfigError, match="has 2 people"):
        person_in(tmp_path / "a.png", FakeDetector(), 3, said.append)
    cv2.imwrite(str(tmp_path / "b.png"), scene())
    with pytest.raises(InputError, match="no person found"):
        person_in(tmp_path / "b.png", FakeDetector(), None, said.append)


def asked(*words: str) -> ImageHW3:
    flags = parse_flags(Query, words, prog="kd-yolo search query", description=ABOUT["query"])
    return search_gallery._asked(flags, None)


def test_a_whole_image_is_never_embedded_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a detector the person is cut out; without one a warning says what is searched for; a crop needs neither."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kd_yolo.base.places.ROOT", tmp_path)
    cv2.imwrite("frame.png", scene((30, RED)))
    cv2.imwrite("crop.png", scene((30, RED))[60:180, 30:70])
    monkeypatch.setattr(search_gallery, "_detector", lambda settings: FakeDetector())
    assert asked("frame.png").shape[:2] == (240, 320)
    out = capsys.readouterr().out
    assert "looks like a whole image" in out
    assert "warning: it is searched for as a whole" in out
    Path("yolov8n.pt").touch()
    assert asked("frame.png").shape[1] < 60
    assert "1 people found" in capsys.readouterr().out
    assert asked("frame.png", "--whole").shape[:2] == (240, 320)
    assert asked("crop.png").shape[:2] == (120, 40)
    assert capsys.readouterr().out == ""


def test_every_tracker_of_ultralytics_follows(tmp_path: Path) -> None:
    from ultralytics.trackers.track import TRACKER_MAP

    from kd_yolo.yolo.track import tracker_names

    assert tracker_names() == sorted(TRACKER_MAP)
    (video, _) = write_two(tmp_path / "in")
    for name in tracker_names():
        found = track_video(video, 1, tmp_path / name, tools(tracker=name, start=0.3, buffer=7), lambda _: None)
        assert found.numbers() == [1, 2], name
        settings = settings_of(TrackRules(tracker=name, start=0.3, buffer=7), None)
        assert (settings["tracker_type"], settings["track_high_thresh"], settings["track_buffer"]) == (name, 0.3, 7)
        assert settings["track_low_thresh"] <= 0.3
        assert settings.get("gmc_method", "none") == "none"
    with pytest.raises(ConfigError, match=r"unknown tracker 'ocsrt'.* Did you mean 'ocsort'\?.*tracktrack"):
        settings_of(TrackRules(tracker="ocsrt"), None)
    with pytest.raises(ConfigError, match="Did you mean 'ocsort'"):
        settings_of(TrackRules(tracker="OCSORT"), None)
    for asked in (lambda rules: settings_of(rules, None), lambda rules: check_used(rules, ["start"], None)):
        with pytest.raises(ConfigError, match=r"gone/ocsort\.yaml': no such file\. Write --tracker ocsort for"):
            asked(TrackRules(tracker="gone/ocsort.yaml"))


@pytest.mark.parametrize(
    ("tracker", "given", "fails"),
    [
        ("botsort", ["start", "buffer", "moving", "best"], False),
        ("bytetrack", ["start"], False),
        ("bytetrack", ["moving"], True),
        ("ocsort", ["proximity"], True),
        ("botsort", ["appearance"], True),
        ("botsort", ["link"], True),
        ("my.yaml", ["best", "min_frames"], False),
        ("my.yaml", ["buffer"], True),
    ],
)
def test_a_rule_that_does_nothing_is_refused(tracker: str, given: list[str], fails: bool) -> None:
    if fails:
        with pytest.raises(ConfigError):
            check_used(TrackRules(tracker=tracker), given, None)
    else:
        check_used(TrackRules(tracker=tracker), given, None)


def threshold(negatives: int, far: float = 0.01) -> Threshold:
    return Threshold(distance=0.3, far=0, frr=0, wanted=far, positives=9, negatives=negatives)


@pytest.mark.parametrize(
    ("new", "old", "worse"),
    [(64, 50_000, True), (64, 64, False), (64, 10, False), (100, 50_000, False), (99, 100, True)],
)
def test_few_pairs_do_not_replace_many(new: int, old: int, worse: bool) -> None:
    assert is_worse(threshold(new), threshold(old)) == worse


def test_calibrate_keeps_the_good_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kd_yolo.search.gallery.gallery import Gallery
    from tests.reid.data_helpers import write_image
    from tests.search.gallery_helpers import save_network

    monkeypatch.chdir(tmp_path)
    save_network(Path("reid.pt"))
    for number in range(8):
        write_image(Path(f"set/bounding_box_test/000{number % 4 + 1}_c{number // 4 + 1}s1_000001_00.jpg"), number)
        write_image(Path(f"set/query/000{number % 4 + 1}_c{number // 4 + 1}s1_000001_00.jpg"), number)
    assert main(["index", "set", "--weights", "reid.pt", "--gallery", "g"]) == 0
    Gallery.open(Path("g")).set_threshold(threshold(50_000))
    assert main(["calibrate", "--pairs", "set", "--gallery", "g"]) == 3
    assert "has 0.3000 from 50,000 pairs of two people, these are 24" in capsys.readouterr().err
    assert Gallery.open(Path("g")).threshold == threshold(50_000)
    assert main(["calibrate", "--pairs", "set", "--gallery", "g", "--force"]) == 0
    kept = Gallery.open(Path("g")).threshold
    assert kept is not None
    assert kept.negatives == 24


def test_a_network_without_normalisation_gets_one_for_the_tracker(tmp_path: Path) -> None:
    """The vectors of tracks and the tracker's own come from the same input."""
    pytest.importorskip("onnx")
    import torch
    from torch import nn

    from kd_yolo.reid.model.settings import IMAGENET_MEAN, IMAGENET_STD
    from kd_yolo.search.networks.embedder import Embedder
    from kd_yolo.search.networks.embedder_onnx import has_normalisation, with_normalisation

    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    plain, wrapped = tmp_path / "plain.onnx", tmp_path / "wrapped.onnx"
    x_nchw = torch.rand(2, 3, 16, 8)
    torch.onnx.export(
        layers.eval(), (x_nchw,), str(plain), dynamo=False, input_names=["input"], output_names=["vector"],
        dynamic_axes={"input": {0: "n"}},
    )  # fmt: skip
    with_normalisation(plain, wrapped)
    assert not has_normalisation(plain)
    assert has_normalisation(wrapped)
    import onnxruntime

    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    (found,) = onnxruntime.InferenceSession(str(wrapped)).run(None, {"input": x_nchw.numpy()})
    np.testing.assert_allclose(found, layers((x_nchw - mean) / std).detach().numpy(), atol=1e-5)
    crops = [np.random.default_rng(0).integers(0, 255, (16, 8, 3), np.uint8)]
    both = [Embedder.open(file, "cpu").embed(crops) for file in (plain, wrapped)]
    np.testing.assert_allclose(both[0], both[1], atol=1e-5)
