"""All commands with their flags."""

from __future__ import annotations

from typing import Any

from kd_yolo.cli import crops
from kd_yolo.cli.compare import CompareFlags
from kd_yolo.cli.data import Check, Make
from kd_yolo.cli.demo import DemoFlags
from kd_yolo.cli.distill import DistillFlags
from kd_yolo.cli.flags import Flags
from kd_yolo.cli.league import LeagueFlags
from kd_yolo.cli.pipeline import PipelineFlags
from kd_yolo.cli.prune import PruneFlags
from kd_yolo.cli.reid import export, test, train
from kd_yolo.cli.search import flags as search
from kd_yolo.cli.search.serve import ServeFlags
from kd_yolo.cli.search.track import Link, Track
from kd_yolo.cli.train import SparseFlags, TrainFlags

FLAGS: dict[str, type[Any]] = {
    "distill": DistillFlags,
    "sparse": SparseFlags,
    "prune": PruneFlags,
    "retrain": TrainFlags,
    "pipeline": PipelineFlags,
    "league": LeagueFlags,
    "compare": CompareFlags,
    "reid train": train.Train,
    "reid distill": train.Train,
    "reid test": test.Test,
    "reid rank": test.Rank,
    "reid export": export.Export,
    "reid prune": export.Prune,
    "crops": crops.CropsFlags,
    "search index": search.Index,
    "search query": search.Query,
    "search calibrate": search.Calibrate,
    "search forget": search.Forget,
    "search track": Track,
    "search link": Link,
    "search serve": ServeFlags,
    "data make": Make,
    "data check": Check,
    "demo": DemoFlags,
    "doctor": Flags,
}
