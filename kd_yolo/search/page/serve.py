"""The server of the page: loads what it searches with, takes a port, and answers until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.extras import require
from kd_yolo.search.page.guard import LOOPBACK, Guard
from kd_yolo.search.page.upload import Limits
from kd_yolo.search.settings import CropRules, DetectorSettings, ServeRules

if TYPE_CHECKING:
    import uvicorn

    from kd_yolo.search.page.app import Site

Say = Callable[[str], None]
STOP_S = 1  # that open connections of browsers are waited for
LAST_PORT = 65535
PATIENCE_S = 30.0  # for a request to arrive; uvicorn waits for ever


@dataclass(frozen=True)
class ServeSettings:
    """What is served and where.

    Attributes:
        gallery: folder of the gallery.
        reid: the network that it was built with; None: where it was then.
        detector: finds the people in an image.
        rules: which of them count.
        compare: weights of the second tab.
        page: where the server listens, and which uploads it accepts.
    """

    gallery: Path
    reid: Path | None = None
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    rules: CropRules = field(default_factory=CropRules)
    compare: tuple[str, ...] = ()
    page: ServeRules = field(default_factory=ServeRules)


def serve(settings: ServeSettings, say: Say = print) -> None:
    """Serves the page until it is interrupted.

    Args:
        settings: what and where.
        say: takes lines for the user.

    Raises:
        InputError: a gallery or weights that cannot be used, or that do not belong together.
        ConfigError: a host or a port that cannot be had, or one model to compare.
        MissingDependencyError: gradio is not installed.
    """
    require("gradio")
    if len(settings.compare) == 1:
        raise ConfigError(f"--compare {settings.compare[0]}: give two or more weights to compare.")
    with listen(settings.page.host, settings.page.port) as sock:
        site = open_site(settings, say)
        from kd_yolo.search.page.app import make_app, private_folder

        if site.hosts is None:
            say(
                f"warning: --host {settings.page.host}: everybody who reaches this machine sees the gallery, without a"
                " password. Leave --host out to serve this machine only."
            )
        with private_folder() as cache, contextlib.suppress(KeyboardInterrupt):
            server = make_server(make_app(site, cache))
            say(f"page:    {address(sock)}")
            say("next:    open it in a browser; Ctrl-C stops it")
            server.run(sockets=[sock])
    say("stopped; the images that were sent are deleted")


def open_site(settings: ServeSettings, say: Say) -> Site:
    """Loads gallery, networks and models.

    Raises:
        InputError: see :func:`serve`.
    """
    from kd_yolo.search.gallery.gallery import Gallery
    from kd_yolo.search.networks.detector import PersonDetector
    from kd_yolo.search.networks.embedder import Embedder
    from kd_yolo.search.page.app import Site
    from kd_yolo.search.page.comparison import Comparison
    from kd_yolo.search.page.finder import Finder

    gallery = Gallery.open(settings.gallery)
    reid = settings.reid or Path(gallery.weights)
    if settings.reid is None and not (gallery.weights and reid.is_file()):
        raise InputError(
            f"the network of {settings.gallery} is not where it was ({gallery.weights or 'not said'}): say where with"
            " --reid."
        )
    embedder = Embedder.open(reid, settings.detector.device)
    gallery.check_model(embedder)
    say(f"gallery: {settings.gallery}, {len(gallery):,} crops")
    finder = Finder(PersonDetector.open(settings.detector), embedder, gallery, settings.rules)
    comparison = None
    if settings.compare:
        comparison = Comparison.open(settings.compare, settings.detector.imgsz, settings.detector.device)
    hosts = LOOPBACK if is_loopback(settings.page.host) else None
    limits = Limits(settings.page.max_mb, settings.page.max_megapixels)
    return Site(finder, limits, comparison, hosts, say)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Takes a port.

    Raises:
        ConfigError: it is none or taken, or the host is not this machine.
    """
    ServeRules.parse({"port": port}, "kd-yolo search serve")  # the system takes a port modulo 65536
    try:
        kind, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(kind, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(place)
            sock.listen()
        except OSError:
            sock.close()
            raise
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            other = port + 1 if port < LAST_PORT else 0
            raise ConfigError(f"port {port} of {host} is taken: stop what uses it, or add --port {other}.") from None
        raise ConfigError(
            f"{host}, port {port}, cannot be served on: {getattr(error, 'strerror', None) or error}."
        ) from None
    return sock


def address(sock: socket.socket) -> str:
    """What to type into a browser on this machine."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def make_server(app: Guard, patience_s: float = PATIENCE_S) -> uvicorn.Server:
    """A server of the application; it believes nothing that a proxy says.

    Args:
        app: of :func:`kd_yolo.search.page.app.make_app`.
        patience_s: how long a connection may take to send a request; then it is closed.
    """
    import uvicorn

    from kd_yolo.search.page.patience import impatient

    logging.getLogger("uvicorn.error").addFilter(is_news)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, proxy_headers=False, server_header=False,
        timeout_graceful_shutdown=STOP_S, http=impatient(patience_s),
    )  # fmt: skip
    return uvicorn.Server(config)


def is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the server says more than that a browser was still there when it was stopped."""
    kind = record.exc_info[0] if record.exc_info else None
    was_cut = kind is not None and issubclass(kind, asyncio.CancelledError)
    return not was_cut and "graceful shutdown" not in record.getMessage()
