"""The page's server against connections that keep it waiting, ports that are none, and uploads that are no images."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("uvicorn", reason="needs the extra ui")

from PIL import Image

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.cli.search.serve import main
from kd_yolo.search.page.serve import listen
from kd_yolo.search.page.upload import Limits, read_upload
from tests.search.bad_helpers import png_of
from tests.search.page_helpers import running

PATIENCE_S = 0.4


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole request, works longer than the patience, and answers."""
    if scope["type"] != "http":
        return
    while (message := await receive()).get("more_body"):
        if message["type"] == "http.disconnect":
            return
    await asyncio.sleep(2 * PATIENCE_S if scope["path"] == "/slow" else 0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[str, int]]:
    with running(app, patience_s=PATIENCE_S) as address:
        yield str(urlsplit(address).hostname), int(urlsplit(address).port or 0)


def until_closed(connection: socket.socket, most_s: float) -> tuple[bytes, float]:
    """What came before the server closed the connection, and when that was."""
    begun, data = time.monotonic(), b""
    connection.settimeout(most_s)
    while part := connection.recv(4096):
        data += part
    return data, time.monotonic() - begun


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"G",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTT",
    ],
    ids=["nothing", "a letter", "half of the head", "half of the body", "half of a second request"],
)
def test_a_connection_that_keeps_waiting_is_closed(place: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(place) as connection:
        connection.sendall(sent)
        data, took_s = until_closed(connection, 20)
    assert took_s < 15, "uvicorn waits for ever"
    assert data.count(b"200 OK") == sent.count(b"\r\n\r\nGET")


def test_a_request_byte_by_byte_is_cut_off(place: tuple[str, int]) -> None:
    begun = time.monotonic()
    with socket.create_connection(place) as connection, contextlib.suppress(OSError):  # reset, or a broken pipe
        for _ in range(400):
            connection.sendall(b"x")
            time.sleep(0.05)
    assert time.monotonic() - begun < 15


def test_slow_work_is_waited_for(place: tuple[str, int]) -> None:
    with socket.create_connection(place) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data, took_s = until_closed(connection, 20)
    assert data.endswith(b"ok")
    assert took_s > PATIENCE_S


@pytest.mark.parametrize("port", [-1, 65536, 99999, 10**9])
def test_a_port_that_is_none(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="port"):
        listen("127.0.0.1", port)
    with pytest.raises(SystemExit) as stop:
        main(["--port", str(port)])
    assert stop.value.code == 2
    assert "port: Input should be" in capsys.readouterr().err


def uploads() -> Iterator[bytes]:
    yield from (b"", b"text", b"%PDF-1.4", b"GIF89a", b"\xff\xd8\xff\xe0", b"<svg/>", b"PK\3\4" + bytes(50))
    yield from (png_of(60_000, 60_000), png_of(2**31 - 1, 2**31 - 1), png_of(20_000, 20_000), png_of(10, 10))
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG")
    yield buffer.getvalue()[:300]
    yield b"\x00\x00\x00\x18ftypheic" + bytes(64)  # ultralytics would install pi-heif for it
    yield b"\x00\x00\x00\x18ftypavif" + bytes(64)


@pytest.mark.parametrize("data", list(uploads()))
def test_an_upload_that_is_no_image_starts_nothing(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ultralytics loaded, its readers would call pip for some files; no process is started, nothing is decoded."""
    import kd_yolo.yolo.guard as guard

    guard.prepare_process()

    def forbidden(*words: object, **_: object) -> None:
        raise AssertionError(f"a process was started: {words}")

    for name in ("Popen", "run", "check_output", "check_call", "call"):
        monkeypatch.setattr(subprocess, name, forbidden)
    monkeypatch.setattr("os.system", forbidden)
    with pytest.raises(InputError):
        read_upload(data, Limits(10, 50))
