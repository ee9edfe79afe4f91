"""``kd-yolo search serve``: what it refuses before it serves, where it serves, and how it stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.search.serve import main
from kd_yolo.search.page.serve import ServeSettings, address, is_loopback, listen, open_site, serve
from kd_yolo.search.settings import DetectorSettings, ServeRules

ROOT = Path(__file__).resolve().parents[2]


def test_a_port_that_is_taken_is_said_with_the_next_one() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} of 127\.0\.0\.1 is taken: .* --port {port + 1}"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
def test_a_host_that_is_not_this_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=f"{host}, port 0, cannot be served on"):
        listen(host, 0)


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.1.2.3", False), ("cameras.example", False), ("127.0.0.1.example", False)],
)  # fmt: skip
def test_only_loopback_is_this_machine_alone(host: str, own: bool) -> None:
    assert is_loopback(host) == own


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_the_address_is_one_that_a_browser_takes(host: str, shown: str) -> None:
    with listen(host, 0) as sock:
        assert address(sock) == f"http://{shown}:{sock.getsockname()[1]}/"


def test_one_model_is_nothing_to_compare(tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="needs the extra ui")
    with pytest.raises(ConfigError, match=r"--compare a\.pt: give two or more"):
        serve(ServeSettings(tmp_path, tmp_path / "reid.pt", compare=("a.pt",)))


def test_without_gradio_the_install_line_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["--gallery", str(tmp_path)]) == 5
    assert "pip install 'kd-yolo[ui]'" in capsys.readouterr().err


def test_no_gallery_and_wrong_limits_end_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio", reason="needs the extra ui")
    assert main(["--gallery", str(tmp_path / "none"), "--port", "0"]) == 3
    assert "is no gallery" in capsys.readouterr().err
    for words, message in (
        ("--max-mb 0", "--max-mb: Input should be greater than 0 (got '0')"),
        ("--conf 3", "--conf"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["--gallery", str(tmp_path), *words.split()])
        assert message in capsys.readouterr().err


def test_help_starts_without_heavy_packages() -> None:
    script = (
        "import sys; from kd_yolo.cli.search.serve import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted({'torch', 'gradio', 'ultralytics', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("[]"), done.stderr
    assert "--compare" in done.stdout


def gallery_and_network(folder: Path) -> tuple[Path, Path]:
    """An empty gallery of a network with random weights."""
    from kd_yolo.search.gallery.gallery import Gallery
    from kd_yolo.search.networks.embedder import Embedder
    from tests.search.gallery_helpers import save_network

    reid = save_network(folder / "reid.pt", backbone="resnet18")
    embedder = Embedder.open(reid, "cpu")
    Gallery.create(folder / "gallery", embedder.hash, embedder.dim, weights=str(reid))
    return folder / "gallery", reid


@pytest.mark.parametrize(("host", "hosts"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_the_network_is_where_the_gallery_says(tmp_path: Path, make_weights: Any, host: str, hosts: bool) -> None:
    pytest.importorskip("gradio", reason="needs the extra ui")
    pytest.importorskip("faiss", reason="needs the extra search")
    gallery, reid = gallery_and_network(tmp_path)
    detector = DetectorSettings(weights=make_weights("tiny8", 1), imgsz=64, device="cpu")
    site = open_site(ServeSettings(gallery, detector=detector, page=ServeRules(host=host)), lambda _: None)
    assert site.finder.embedder.weights == reid
    assert (site.hosts is not None) == hosts
    assert site.comparison is None


@pytest.mark.e2e
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_command_serves_warns_and_stops(tmp_path: Path, make_weights: Any, host: str) -> None:
    pytest.importorskip("gradio", reason="needs the extra ui")
    pytest.importorskip("faiss", reason="needs the extra search")
    gallery, reid = gallery_and_network(tmp_path)
    weights = make_weights("tiny8", 1)
    words = ["--gallery", str(gallery), "--reid", str(reid), "--weights", weights, "--compare", weights, weights]
    words += ["--imgsz", "64", "--device", "cpu", "--port", "0", "--host", host]
    script = f"import sys; from kd_yolo.cli.search.serve import main; sys.exit(main({words!r}))"
    env = {**os.environ, "TMPDIR": str(tmp_path), "GRADIO_SHARE": "True", "GRADIO_ALLOWED_PATHS": "/"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("next:"):
            break
    url = next(line.split()[1] for line in lines if line.startswith("page:"))
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert b"Person search" in answer.read()
    assert any(line.startswith(f"warning: --host {host}") for line in lines) == (host == "0.0.0.0")
    assert list(tmp_path.glob("kd-yolo-page-*"))
    process.send_signal(signal.SIGINT)
    assert "stopped" in process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert not list(tmp_path.glob("kd-yolo-page-*"))
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2])))
