"""The real server is asked for what it must not give: files, web addresses, calls, uploads that are no images."""

from __future__ import annotations

import http.client
import json
import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("faiss", reason="needs the extra search")
pytest.importorskip("polars", reason="needs the extra search")

from tests.search.page_helpers import RED, SMALL, encoded, filled_finder, scene, served

# looked for, not imported: that takes seconds in every process that collects the tests
pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="needs the extra ui")
FILE = "/gradio_api/file="


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("requests")


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[str]:
    with served(filled_finder(folder)) as address:
        yield address


def ask(page: str, target: str, method: str = "GET", body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """Status and body; the target goes out as it is written."""
    connection = http.client.HTTPConnection(urlsplit(page).netloc, timeout=20)
    try:
        connection.request(method, target, body or None, {key.replace("_", "-"): x for key, x in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def send(page: str, data: bytes, name: str = "a.png") -> tuple[int, bytes]:
    """Uploads a file as the page does."""
    head = f'--x\r\ncontent-disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    kind = "multipart/form-data; boundary=x"
    return ask(page, "/gradio_api/upload", "POST", head + data + b"\r\n--x--\r\n", content_type=kind)


def join(page: str, value: object, number: int = 0) -> tuple[int, bytes]:
    """Starts an event of the page."""
    event = {"data": [value, 10], "fn_index": number, "session_hash": "abcdef", "event_data": None}
    return ask(page, "/gradio_api/queue/join", "POST", json.dumps(event).encode(), content_type="application/json")


def test_the_page_itself_is_answered(page: str) -> None:
    status, body = ask(page, "/")
    assert status == 200
    assert b"Person search" in body
    assert b"googleapis" not in body
    assert b"cdn" not in body.lower()


def test_no_file_of_this_machine_is_served(page: str, folder: Path) -> None:
    gallery = folder / "gallery"
    crop = next((gallery / "pictures").rglob("*.jpg"))
    secrets = ["/etc/passwd", str(crop), str(folder / "hall 1.png"), str(gallery / "gallery.json"), __file__,
               f"{tempfile.gettempdir()}/../etc/passwd", "../../../../etc/passwd", "....//....//etc/passwd",
               "/proc/self/environ", "/etc/passwd%00.png", "/etc/passwd\\..\\a.png"]  # fmt: skip
    for secret in secrets:
        for target in (secret, secret.replace("/", "%2f"), secret.replace("/", "%252f"), secret.replace(".", "%2e")):
            for door in (FILE, "/gradio_api/file/", "/file=", "/assets/", "/static/", "/svelte/", "/gradio_api/proxy="):
                status, body = ask(page, door + target.replace(" ", "%20"))
                assert status in {403, 404}, (door, target, status)
                assert b"root:" not in body
                assert len(body) < 100


def test_no_web_address_is_fetched(page: str) -> None:
    for address in ("http://127.0.0.1:9/a.png", "https://example.org/a.png", "file:///etc/passwd"):
        assert ask(page, FILE + address)[0] == 403
        for event in ({"path": address}, {"path": address, "meta": {"_type": "gradio.FileData"}}, {"url": address}):
            assert join(page, event)[0] == 403


def test_hostile_events_start_nothing(page: str, folder: Path) -> None:
    for path in ("/etc/passwd", "../../etc/passwd", str(folder / "hall 1.png"), str(folder / "gallery/gallery.json")):
        for number in range(8):
            status, body = join(page, {"path": path, "meta": {"_type": "gradio.FileData"}}, number)
            assert status == 403
            assert b"root:" not in body


def test_nothing_can_be_called_or_read_beside_the_page(page: str) -> None:
    for target in ("/docs", "/openapi.json", "/gradio_api/info", "/gradio_api/openapi.json", "/monitoring", "/login",
                   "/gradio_api/deep_link?session_hash=a", "/gradio_api/runs", "/gradio_api/app_id"):  # fmt: skip
        assert ask(page, target)[0] == 404
    for target in ("/gradio_api/run/_upload", "/gradio_api/call/_upload", "/gradio_api/component_server"):
        assert ask(page, target, "POST", b'{"data": []}', content_type="application/json")[0] == 404
    assert json.loads(ask(page, "/config")[1])["api_prefix"] == "/gradio_api"


def test_a_image_that_was_sent_is_served_to_its_sender(page: str) -> None:
    image = encoded(scene((30, RED)))
    status, body = send(page, image, "../../../a b/../c.png")
    assert status == 200
    (path,) = json.loads(body)
    assert ".." not in path
    assert Path(path).name.endswith("c.png")
    assert ask(page, FILE + path.replace(" ", "%20")) == (200, image)


def test_a_image_under_another_name_is_never_served_as_a_page(page: str) -> None:
    status, body = send(page, encoded(scene((30, RED))) + b"<script>alert(1)</script>", "a.html")
    assert status == 200
    assert ask(page, FILE + json.loads(body)[0])[0] == 403


@pytest.mark.parametrize(
    ("data", "name", "status"),
    [(b"<html></html>", "a.jpg", 415), (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", 415),
     (encoded(scene(), ".jpg")[:1500], "a.jpg", 415), (b"", "a.png", 415),
     (encoded(scene()) + b"\0" * SMALL.size_bytes, "a.png", 413), (b"\0" * SMALL.size_bytes * 9, "a.png", 413)],
)  # fmt: skip
def test_other_uploads_are_refused_and_leave_nothing(page: str, data: bytes, name: str, status: int) -> None:
    cache = Path(os.environ["GRADIO_TEMP_DIR"])
    before = sorted(cache.rglob("*"))
    try:
        assert send(page, data, name)[0] == status
    except (ConnectionError, http.client.HTTPException):
        assert len(data) > 4 * SMALL.size_bytes  # cut off while it was still being sent
    assert sorted(cache.rglob("*")) == before


def test_another_host_name_or_page_is_turned_away(page: str) -> None:
    assert ask(page, "/", host="evil.example")[0] == 421
    body = b'{"data": [], "fn_index": 0, "session_hash": "x"}'
    assert ask(page, "/gradio_api/queue/join", "POST", body, origin="http://evil.example")[0] == 403


def test_what_was_sent_is_gone_with_the_page_and_settings_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from kd_yolo.search.page.app import private_folder

    monkeypatch.setenv("GRADIO_SHARE", "True")
    before = {key: value for key, value in os.environ.items() if key.startswith("GRADIO_")}
    with private_folder() as cache:
        assert "GRADIO_SHARE" not in os.environ
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        assert cache.stat().st_mode & 0o077 == 0
        (cache / "a.png").write_bytes(b"x")
    assert not cache.exists()
    assert {key: value for key, value in os.environ.items() if key.startswith("GRADIO_")} == before
