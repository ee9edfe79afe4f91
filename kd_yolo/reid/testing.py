"""From crops to a ranking: embeds query and gallery, joins their distances, scores the order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from kd_yolo.reid.data.layouts import Sample
from kd_yolo.reid.evaluation.align import local_distance
from kd_yolo.reid.evaluation.distance import distance_matrix
from kd_yolo.reid.evaluation.expansion import average_query_expansion
from kd_yolo.reid.evaluation.rank import RankResult, evaluate, evaluate_embeddings
from kd_yolo.reid.evaluation.realign import realign_top
from kd_yolo.reid.evaluation.rerank import rerank
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.settings import TestSettings

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Embedded:
    """Crops as a network sees them.

    Attributes:
        global_nd: embeddings (N,D) of unit length.
        local_nhd: stripes (N,8,128) of unit length, where the network has the local branch and they were asked for.
    """

    global_nd: Floats
    local_nhd: Floats | None = None


def embed(
    model: ReIDModel, crops: Dataset[Any], settings: TestSettings, *, workers: int = 0, progress: Progress | None = None
) -> Embedded:
    """Embeds crops in their order.

    Args:
        model: the network; is in eval mode afterwards.
        crops: gives the crop (3,H,W), RGB 0-1, first.
        settings: batch size and feature.
        workers: processes that read crops.
        progress: called with crops done and all crops.

    Raises:
        InputError: a crop that does not decode.
    """
    model.eval()
    device = next(model.parameters()).device
    with_local = settings.feature != "global"
    found: list[Floats] = []
    stripes: list[Floats] = []
    loader = DataLoader(crops, batch_size=settings.batch, num_workers=workers)
    total = len(crops)  # type: ignore[arg-type]
    with torch.inference_mode():
        for batch in loader:
            x_nchw = batch[0].to(device)
            if with_local:
                global_nd, local_nhd = model.embed_both(x_nchw)
                stripes.append(local_nhd.float().cpu().numpy())
            else:
                global_nd = model.embed(x_nchw)
            found.append(global_nd.float().cpu().numpy())
            if progress is not None:
                progress(sum(map(len, found)), total)
    return Embedded(np.concatenate(found), np.concatenate(stripes) if stripes else None)


def distances(query: Embedded, gallery: Embedded, settings: TestSettings) -> Floats:
    """Distances (Nq,Ng) as the settings want them: global, local or both, expanded, re-ranked."""
    if settings.feature == "local":
        assert query.local_nhd is not None
        assert gallery.local_nhd is not None
        return local_distance(query.local_nhd, gallery.local_nhd)
    q_nd = query.global_nd
    if settings.expand:
        q_nd = average_query_expansion(q_nd, gallery.global_nd, settings.expand)
    if settings.rerank:
        dist_qg = rerank(q_nd, gallery.global_nd, settings.k1, settings.k2, settings.lambda_value)
    else:
        dist_qg = distance_matrix(q_nd, gallery.global_nd)
    if settings.feature == "both":
        dist_qg = realign_top(dist_qg, query.local_nhd, gallery.local_nhd, weight=settings.local_share)
    return dist_qg


def uses_cameras(settings: TestSettings, queries: Sequence[Sample], gallery: Sequence[Sample]) -> bool:
    """Whether matches of the query's own camera are dropped: as wished, else where there are several cameras."""
    if settings.cameras is not None:
        return settings.cameras
    return len({sample.camera for sample in (*queries, *gallery)}) > 1


def score(dist_qg: Floats, queries: Sequence[Sample], gallery: Sequence[Sample], settings: TestSettings) -> RankResult:
    """Scores a ranking.

    Raises:
        InputError: no query has anything to find.
    """
    with_cameras = uses_cameras(settings, queries, gallery)
    q_ids, q_cams = labels_of(queries, with_cameras=with_cameras)
    g_ids, g_cams = labels_of(gallery, with_cameras=with_cameras)
    return evaluate(dist_qg, q_ids, g_ids, q_cams, g_cams, max_rank=settings.max_rank, ap=settings.ap)


def score_embedded(
    query: Embedded, gallery: Embedded, labels: tuple[Sequence[Sample], Sequence[Sample]], settings: TestSettings
) -> RankResult:
    """Ranks and scores; for plain embeddings without the matrix of distances, which a large set has no memory for.

    Args:
        query: the queries.
        gallery: what they are looked for in.
        labels: samples of both.
        settings: how.

    Raises:
        InputError: no query has anything to find.
    """
    if settings.feature != "global" or settings.expand or settings.rerank:
        return score(distances(query, gallery, settings), *labels, settings)
    with_cameras = uses_cameras(settings, *labels)
    q_ids, q_cams = labels_of(labels[0], with_cameras=with_cameras)
    g_ids, g_cams = labels_of(labels[1], with_cameras=with_cameras)
    asked, known = (query.global_nd, q_ids, q_cams), (gallery.global_nd, g_ids, g_cams)
    return evaluate_embeddings(asked, known, settings.max_rank, ap=settings.ap)


def labels_of(samples: Sequence[Sample], *, with_cameras: bool) -> tuple[list[int], list[int] | None]:
    """Identities, and cameras where the protocol has them."""
    cameras = [sample.camera for sample in samples] if with_cameras else None
    return [sample.identity for sample in samples], cameras


def as_metrics(result: RankResult) -> dict[str, float]:
    """The figures that are logged."""
    ranks = {f"rank{rank}": float(result.cmc[rank - 1]) for rank in (1, 5, 10) if rank <= len(result.cmc)}
    return {"mAP": result.map, "mINP": result.minp, **ranks}
