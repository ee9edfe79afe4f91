"""``kd-yolo reid test`` and ``rank``: a trained network on query and gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.closing import print_next, print_results, say, shell_path
from kd_yolo.cli.reid.flags import Rank, Test
from kd_yolo.cli.reid.pairs import parse_pairs, with_data

if TYPE_CHECKING:
    from kd_yolo.reid.settings import ReIDConfig

OF_RERANKING = ("test.k1", "test.k2", "test.lambda_value")
NOT_OF_RANK = ("cameras", "ap", "max_rank")


def run_test(flags: Test, pairs: list[str]) -> None:
    """Measures a network on query and gallery."""
    if flags.strips < 0:
        raise ConfigError(f"--strips {flags.strips}: expected 0 or more.")
    _measure(flags.weights, _own_settings(flags.weights, pairs), flags.name or "test", flags.strips)


def run_rank(flags: Rank, pairs: list[str]) -> None:
    """Ranks the gallery for one crop and draws the ranking."""
    from kd_yolo.reid.measure import Source, rank_picture

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
    for path, distance in rank_picture(source, flags.query, config.test, flags.out, say):
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
