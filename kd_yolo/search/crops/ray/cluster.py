"""A Ray cluster: one that is there, or one on this machine for a run; no dashboard, no usage statistics."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kd_yolo.base.errors import ConfigError, InputError, KDYoloError
from kd_yolo.base.extras import require
from kd_yolo.search.settings import CropsConfig

STORE_BYTES = 200 << 20  # rows and vectors on their way; frames do not travel
LOOPBACK = "127.0.0.1"
CONNECT_S = 10.0


@dataclass(frozen=True)
class Share:
    """What a cluster gives.

    Attributes:
        workers: how many processes.
        gpus: of each, a part of one where several share it.
        threads: of each, on the CPU.
    """

    workers: int
    gpus: float
    threads: int


def require_ray(*, loopback: bool = True) -> Any:
    """Imports Ray, with its data library and without usage statistics.

    Args:
        loopback: a cluster that is started shall not be reachable from other machines; counts at the first import.

    Raises:
        MissingDependencyError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it calls the restart of an actor an error beforehand
    if loopback:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # what makes Ray take 127.0.0.1 for its own address
    ray = require("ray")
    require("ray.data")
    return ray


@contextmanager
def cluster(config: CropsConfig) -> Iterator[Any]:
    """Ray, connected; what was started or joined here is left at the end.

    Raises:
        ConfigError: this process is connected already, and an address is given.
        InputError: there is no cluster at the address.
    """
    ray = require_ray(loopback=config.ray_address is None)
    if ray.is_initialized():
        if config.ray_address is not None:
            raise ConfigError(f"this process has joined a Ray cluster: leave out ray_address={config.ray_address}.")
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if config.ray_address is None:
        _start(ray, {**quiet, "num_cpus": config.workers})
    else:
        _join(ray, config.ray_address, quiet)
    try:
        yield ray
    finally:
        ray.shutdown()


def share_of(ray: Any, config: CropsConfig) -> Share:
    """Divides a cluster.

    Raises:
        ConfigError: it has no such devices, or too few cores.
    """
    there = ray.cluster_resources()
    cpus, gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    is_cpu = config.detector.device == "cpu"
    if config.detector.device not in (None, "cpu") and not gpus:
        raise ConfigError(f"device={config.detector.device}, but the Ray cluster has no GPU: --device cpu.")
    workers = config.workers or (gpus if gpus and not is_cpu else cpus)
    if not 1 <= workers <= cpus:
        raise ConfigError(f"{workers} workers, but the Ray cluster has {cpus} CPU cores: --workers {max(1, cpus)}.")
    each = 0.0 if is_cpu or not gpus else min(1.0, gpus / workers)
    return Share(workers, each, max(1, cpus // workers))


def _start(ray: Any, options: dict[str, Any]) -> None:
    try:
        ray.init(
            address="local", include_dashboard=False, object_store_memory=STORE_BYTES, _node_ip_address=LOOPBACK,
            **options,
        )  # fmt: skip
    except Exception as error:  # Ray's have no common class
        raise KDYoloError(f"Ray does not start on this machine: {error}. --engine local does without it.") from error
    address = ray.util.get_node_ip_address()
    if address != LOOPBACK:
        ray.shutdown()
        raise KDYoloError(
            f"Ray was imported before kd_yolo and would listen at {address}, open to others: import kd_yolo first, or"
            " call ray.init yourself."
        )


def _join(ray: Any, address: str, options: dict[str, Any]) -> None:
    try:
        if address != "auto":
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_S).close()  # Ray itself would try for minutes
        ray.init(address=address, **options)
    except Exception as error:  # Ray's have no common class
        raise InputError(
            f"no Ray cluster at {address} can be joined: {error}. Start one with: ray start --head. If it has a token,"
            " set RAY_AUTH_MODE=token, with the same token here."
        ) from error
