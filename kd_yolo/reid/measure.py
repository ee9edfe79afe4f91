"""What a trained network is worth on a set: metrics, curves, and strips of the rankings that went worst."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_yolo.base.device import choose_device
from kd_yolo.base.files import write_image
from kd_yolo.base.reading import regular_file
from kd_yolo.reid.data.dataset import Crops
from kd_yolo.reid.data.sample import GALLERY, QUERY, Sample
from kd_yolo.reid.data.sets import read_reid_set
from kd_yolo.reid.data.statistics import as_markdown
from kd_yolo.reid.evaluation.curves import draw_cmc, draw_pair_histogram, pair_histogram
from kd_yolo.reid.evaluation.strips import draw_strip, write_strips
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.settings import TestSettings
from kd_yolo.reid.testing import Embedded, as_metrics, distances, embed, labels_of, score, uses_cameras
from kd_yolo.reid.train.records import write_metrics

Say = Callable[[str], None]
SHOWN = 10


@dataclass(frozen=True)
class Source:
    """A network and the set that it is asked about.

    Attributes:
        weights: a checkpoint.
        data: folder of the set.
        device: where to compute.
    """

    weights: Path
    data: str
    device: str | None = None


def measure(
    source: Source, settings: TestSettings, folder: Path, say: Say = print, *, strips: int = 20
) -> dict[str, float]:
    """Ranks the gallery for every query and writes metrics, curves and strips.

    Args:
        source: network and data.
        settings: how to test.
        folder: for ``metrics.json``, ``cmc.png``, ``distances.png`` and ``strips/``.
        say: takes lines for the user.
        strips: how many of the worst rankings to draw.

    Returns:
        mAP, mINP, Rank-1, 5 and 10, and how many queries count.

    Raises:
        InputError: weights or data that cannot be used.
        ConfigError: the local branch is wanted of a network that has none.
    """
    model, query, gallery = _open(source, settings, say)
    seen = [_look(model, part, settings, say) for part in (query, gallery)]
    found = distances(seen[0], seen[1], settings)
    result = score(found, query, gallery, settings)
    metrics = {**as_metrics(result), "queries": result.num_valid_queries, "skipped": result.num_skipped}
    write_metrics(folder, {**metrics, "cmc": result.cmc.tolist(), "settings": settings.model_dump(mode="json")})
    draw_cmc({source.weights.stem: result.cmc}, folder / "cmc.png")
    with_cameras = uses_cameras(settings, query, gallery)
    labels = [labels_of(part, with_cameras=with_cameras) for part in (query, gallery)]
    draw_pair_histogram(pair_histogram(found, labels[0], labels[1]), folder / "distances.png")
    write_strips(found, query, gallery, folder / "strips", strips, with_cameras)
    if result.num_skipped:
        say(f"{result.num_skipped} queries have nothing to find and do not count")
    return metrics


def rank_image(
    source: Source, image: Path, settings: TestSettings, target: Path, say: Say = print
) -> list[tuple[Path, float]]:
    """Ranks the gallery for one image of a person and draws the first ten.

    Args:
        source: network and data.
        image: a crop of a person.
        settings: how to rank; the image has no camera, so none is dropped.
        target: PNG to write.
        say: takes lines for the user.

    Returns:
        The nearest ten crops with their distances.

    Raises:
        InputError: weights, data or image that cannot be used.
    """
    regular_file(image, "query")
    model, _, gallery = _open(source, settings, say)
    asked = (Sample(image, -1, -1),)
    found = distances(_look(model, asked, settings, say), _look(model, gallery, settings, say), settings)[0]
    order = np.argsort(found, kind="stable")[:SHOWN]
    nearest = [gallery[place] for place in order]
    write_image(target, draw_strip(asked[0], nearest, image.name[:20]))
    return [(sample.path, float(found[place])) for sample, place in zip(nearest, order, strict=True)]


def _open(source: Source, settings: TestSettings, say: Say) -> tuple[ReIDModel, Sequence[Sample], Sequence[Sample]]:
    model = ReIDModel.load(source.weights).to(choose_device(source.device))
    found = read_reid_set(source.data, max_rank=settings.max_rank)
    found.require(QUERY, GALLERY)
    for line in (*as_markdown(found.subsets).splitlines(), *found.notes):
        say(line)
    return model, found.query, found.gallery


def _look(model: ReIDModel, samples: Sequence[Sample], settings: TestSettings, say: Say) -> Embedded:
    """Embeds crops and says how far it is, at each tenth of a large set."""
    tenth = max(len(samples) // 10, 1000)
    said = [0]

    def progress(done: int, total: int) -> None:
        if done // tenth > said[0] and done < total:
            said[0] = done // tenth
            say(f"{done:,} of {total:,} crops embedded")

    return embed(model, Crops(samples, None, (model.config.height, model.config.width)), settings, progress=progress)
