"""``kd-yolo reid test`` and ``rank``: a trained network on query and gallery."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.about import About, setting_keys
from kd_yolo.cli.closing import print_next, print_results, say, shell_path
from kd_yolo.cli.flags import Flags
from kd_yolo.cli.reid.pairs import parse_pairs, with_data
from kd_yolo.reid.settings import ReIDConfig, TestSettings

OF_RERANKING = ("test.k1", "test.k2", "test.lambda_value")
NOT_OF_RANK = ("cameras", "ap", "max_rank")


def _keys(*left_out: str) -> dict[str, str]:
    """Settings of a test."""
    names = [f"test.{name}" for name in TestSettings.model_fields if name not in left_out]
    return setting_keys(ReIDConfig, ["data", "train.device", *names])


ABOUT = About(
    """Measures a ReID network on query and gallery: CMC, mAP, mINP, curves and the worst rankings.

    The test settings that the network was trained with replace the defaults below.""",
    "kd-yolo reid test --weights runs/reid/resnet50/weights/best.pt data=my/market rerank=true",
    _keys,
)
ABOUT_RANK = About(
    """Ranks the gallery of a ReID data set for one crop of a person, and draws the ranking.

    The test settings that the network was trained with replace the defaults below.""",
    "kd-yolo reid rank --weights best.pt --query person.jpg data=my/market",
    lambda: _keys(*NOT_OF_RANK),
)


class WeightsFlags(Flags):
    """Flags of every command on a trained network."""

    weights: Path
    """A checkpoint of kd-yolo reid train."""


class Test(WeightsFlags):
    """Flags of ``test``."""

    __test__ = False  # no test class for pytest

    strips: int = Field(default=20, ge=0)
    """Number of the worst rankings to draw."""
    name: str = "test"
    """Name of the folder in runs/reid."""


class Rank(WeightsFlags):
    """Flags of ``rank``."""

    query: Path
    """A crop of a person."""
    out: Path = Path("ranking.png")
    """The PNG image to write."""


def run_test(flags: Test, pairs: list[str]) -> None:
    """Measures a network on query and gallery."""
    _measure(flags.weights, _own_settings(flags.weights, pairs), flags.name, flags.strips)


def run_rank(flags: Rank, pairs: list[str]) -> None:
    """Ranks the gallery for one crop and draws the ranking."""
    from kd_yolo.reid.measure import Source, rank_image

    useless = sorted(set(parse_pairs(pairs)) & {f"{part}{key}" for key in NOT_OF_RANK for part in ("", "test.")})
    if useless:
        raise ConfigError(f"{', '.join(useless)}: a ranking without scores has no use for it. Leave it out.")
    if flags.out.suffix.lower() != ".png":
        raise ConfigError(f"--out {flags.out}: the ranking is written as PNG. Give a name that ends with .png.")
    if flags.query.is_dir():
        raise ConfigError(
            f"--query {flags.query} is a folder: rank takes one crop of a person. kd-yolo reid test ranks a folder"
            " of queries, kd-yolo search query looks for one in a gallery."
        )
    config = _own_settings(flags.weights, pairs)
    source = Source(flags.weights, str(config.data), config.train.device)
    for path, distance in rank_image(source, flags.query, config.test, flags.out, say):
        print(f"{distance:.4f}  {path}")
    print_results(flags.out)


def _own_settings(weights: Path, pairs: list[str]) -> ReIDConfig:
    """How a network was to be tested when it was trained, with changes."""
    from kd_yolo.reid.model.checkpoint import load_checkpoint, settings_of
    from kd_yolo.reid.resolve import place_of, resolve_reid

    checkpoint = load_checkpoint(weights)
    settings = settings_of(checkpoint, weights)
    changes = parse_pairs(pairs)
    kept = {} if settings is None else {f"test.{key}": value for key, value in settings.test.model_dump().items()}
    given = {place_of(key) for key in changes}
    if ("test", "feature") in given:  # the weight of the local distance goes with what it weighs
        kept.pop("test.local_share", None)
    if ("test", "rerank") in given:
        kept = {key: value for key, value in kept.items() if key not in OF_RERANKING}
    kept |= {"network.local": checkpoint.config.local}
    for key in changes:
        section, name = place_of(key)
        if section not in (None, "test") and (section, name) != ("train", "device"):
            raise ConfigError(f"'{key}=' means nothing here: data=, train.device= and the settings in test. do.")
    return with_data(resolve_reid(None, {**kept, **changes}))


def _measure(weights: Path, config: ReIDConfig, name: str, strips: int) -> None:
    from kd_yolo.base.places import reserved
    from kd_yolo.reid.measure import Source, measure

    source = Source(weights, str(config.data), config.train.device)
    with reserved(Path("runs/reid") / name) as folder:
        metrics = measure(source, config.test, folder, say, strips=strips)
    print(
        ", ".join(
            f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in metrics.items()
        )
    )
    print_results(folder, ("metrics.json", "cmc.png", "distances.png", "strips/"))
    print_next(f"kd-yolo reid export --weights {shell_path(weights)}")
