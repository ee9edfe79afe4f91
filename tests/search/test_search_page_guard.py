"""The guard answers what the page asks for, and nothing else reaches the application behind it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.search.page.guard import API, DRAINED, EVENT_BYTES, HEADERS, Guard, named_files, read_body
from tests.search.page_helpers import RED, SMALL, encoded, scene

HOST = "127.0.0.1:7860"
JOIN = f"{API}/queue/join"


class Behind:
    """Keeps what reaches the application."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive, 10**8) if scope["method"] == "POST" else b""
        self.seen.append((scope["path"], body or b""))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-frame-options", b"ALLOWALL")]})
        await send({"type": "http.response.body", "body": b"answered"})


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    (tmp_path / "cache" / "a").mkdir(parents=True)
    (tmp_path / "cache" / "a" / "crop 1.webp").write_bytes(b"x")
    (tmp_path / "cache" / "page.html").write_bytes(b"x")
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "cache" / "link.png").symlink_to(tmp_path / "secret.png")
    return Guard(Behind(), tmp_path / "cache", SMALL)


def ask(
    guard: Guard, path: str, method: str = "GET", body: bytes | list[bytes] = b"", **headers: str
) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of the answer to a request."""
    parts = body if isinstance(body, list) else [body]
    waiting = [{"type": "http.request", "body": p, "more_body": k + 1 < len(parts)} for k, p in enumerate(parts)]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": HOST, **{key.replace("_", "-"): value for key, value in headers.items()}}
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [
        (key.encode(), value.encode()) for key, value in given.items()
    ]}  # fmt: skip
    asyncio.run(guard(scope, receive, send))
    names = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return sent[0]["status"], names, b"".join(m.get("body", b"") for m in sent[1:]).decode()


def form(data: bytes, name: str = "a.png", count: int = 1) -> tuple[bytes, str]:
    """The body of an upload, and its content type."""
    head = f'--x\r\ncontent-disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return (head + data + b"\r\n") * count + b"--x--\r\n", "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/theme.css", "/favicon.ico", "/assets/index-a_1.js", "/static/js/iframe.min.js",
     f"{API}/queue/data", f"{API}/heartbeat/abc123", f"{API}/upload_progress", f"{API}/startup-events"],
)  # fmt: skip
def test_what_the_page_loads_is_answered(guard: Guard, path: str) -> None:
    assert ask(guard, path)[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/docs", "/openapi.json", "/login", "/monitoring", "/monitoring/summary", "/svelte/x.js", f"{API}/info",
     f"{API}/openapi.json", f"{API}/deep_link", f"{API}/proxy=https://x.hf.space/a", f"{API}/runs", f"{API}/app_id",
     f"{API}/stream/a/b/1/playlist.m3u8", f"{API}/vibe-code", f"{API}/dev/reload", "/assets/../../etc/passwd",
     "/static/..", f"{API}/heartbeat/../info", "/assets/%2e%2e/x", "//etc/passwd", "/config/../x"],
)  # fmt: skip
def test_every_other_door_is_closed(guard: Guard, path: str) -> None:
    assert ask(guard, path)[0] == 404
    assert guard.app.seen == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "path",
    [f"{API}/run/predict", f"{API}/call/predict", f"{API}/api/predict", f"{API}/component_server", "/login",
     f"{API}/process_recording", f"{API}/vibe-edit", f"{API}/run-history/connect", f"{API}/stream/1", "/", "/config"],
)  # fmt: skip
def test_nothing_is_called_by_name(guard: Guard, path: str) -> None:
    assert ask(guard, path, "POST", b"{}")[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_answered(guard: Guard, method: str) -> None:
    assert ask(guard, "/", method)[0] == 405


def test_images_of_the_page_are_served(guard: Guard) -> None:
    assert ask(guard, f"{API}/file={guard.cache}/a/crop 1.webp")[0] == 200


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "{cache}/../secret.png", "{cache}/a/../../secret.png", "{cache}/link.png", "{cache}/page.html",
     "{cache}", "{cache}/a", "", "../secret.png", "secret.png", "{cache}/none.png", "{cache}/a/crop 1.webp\0.png",
     "{cache}/a/crop%201.webp", "%2fetc%2fpasswd", "..%2f..%2fetc%2fpasswd", "file:///etc/passwd",
     "https://example.org/a.png", "http://127.0.0.1/a.png", "data:image/png;base64,AAAA", "~/a.png",
     "{cache}/" + "a" * 5000 + ".png", "//{cache}/../secret.png"],
)  # fmt: skip
def test_no_other_file_is_served(guard: Guard, name: str) -> None:
    path = f"{API}/file=" + name.replace("{cache}", str(guard.cache))
    assert ask(guard, path)[0] == 403
    assert guard.app.seen == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "10.0.0.3:7860"])
def test_another_name_for_this_machine_is_not_served(guard: Guard, host: str) -> None:
    assert ask(guard, "/", host=host)[0] == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:7860", "127.0.0.1", "[::1]:7860"])
def test_loopback_names_are_served(guard: Guard, host: str) -> None:
    assert ask(guard, "/", host=host)[0] == 200


def test_with_another_host_any_name_is_served(guard: Guard) -> None:
    assert ask(Guard(guard.app, guard.cache, SMALL, None), "/", host="cameras.example")[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:1", "http://localhost:7860"])
def test_other_pages_send_nothing(guard: Guard, origin: str) -> None:
    assert ask(guard, JOIN, "POST", b"{}", origin=origin)[0] == 403


def test_the_page_itself_sends(guard: Guard) -> None:
    body = json.dumps({"data": [{"path": f"{guard.cache}/a/crop 1.webp", "url": (
        f"http://{HOST}{API}/file={guard.cache}/a/crop%201.webp"
    )}]}).encode()  # fmt: skip
    assert ask(guard, JOIN, "POST", [body[:10], body[10:]], origin=f"http://{HOST}")[0] == 200
    assert guard.app.seen == [(JOIN, body)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "event",
    [{"path": "/etc/passwd"}, {"path": "https://example.org/a.png"}, {"path": "{cache}/../secret.png"},
     {"path": ""}, {"path": ["/etc/passwd"]}, {"path": 3}, {"url": "data:image/png;base64,AAAA"},
     {"url": "https://example.org/a.png"}, {"url": "https://example.org/gradio_api/file=/etc/passwd"},
     {"a": [{"b": {"image": {"path": "/etc/hosts", "meta": {"_type": "gradio.FileData"}}}}]}],
)  # fmt: skip
def test_events_name_no_other_file(guard: Guard, event: dict[str, Any]) -> None:
    text = json.dumps({"data": [event], "fn_index": 0}).replace("{cache}", str(guard.cache))
    assert ask(guard, JOIN, "POST", text.encode())[0] == 403
    assert guard.app.seen == []  # type: ignore[attr-defined]


def test_what_is_no_json_names_no_file_that_there_is() -> None:
    assert named_files(b"{") == [""]
    assert named_files(b"[" * 100_000) == [""]
    assert named_files(b"\xff\xfe") == [""]
    assert named_files(b"") == []


def test_a_long_event_is_refused(guard: Guard) -> None:
    assert ask(guard, JOIN, "POST", b" " * (EVENT_BYTES + 1))[0] == 413


def test_a_image_is_handed_on_as_it_was_sent(guard: Guard) -> None:
    body, kind = form(encoded(scene((30, RED))))
    assert ask(guard, f"{API}/upload", "POST", [body[:50], body[50:]], content_type=kind)[0] == 200
    assert guard.app.seen == [(f"{API}/upload", body)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"<html>", 415), (b"", 415), (encoded(scene(), ".jpg")[:900], 415), (b"x" * (SMALL.size_bytes + 1), 413),
     (b"x" * (SMALL.size_bytes * 10), 413)],
)  # fmt: skip
def test_uploads_that_are_no_image_are_refused(guard: Guard, data: bytes, status: int) -> None:
    body, kind = form(data)
    found, _, text = ask(guard, f"{API}/upload", "POST", body, content_type=kind)
    assert found == status
    assert "image" in text
    assert guard.app.seen == []  # type: ignore[attr-defined]


def test_one_image_at_a_time(guard: Guard) -> None:
    body, kind = form(encoded(scene()), count=2)
    assert ask(guard, f"{API}/upload", "POST", body, content_type=kind)[0] == 400
    assert ask(guard, f"{API}/upload", "POST", b"a=1", content_type="application/x-www-form-urlencoded")[0] == 400
    assert ask(guard, f"{API}/upload", "POST", b"no form", content_type="multipart/form-data; boundary=y")[0] == 400


def test_a_body_without_end_is_cut_off() -> None:
    asked = []

    async def receive() -> Any:
        asked.append(1)
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    assert asyncio.run(read_body(receive, 1000)) is None
    assert len(asked) <= DRAINED * 10 + 1


def test_headers_keep_the_browser_on_this_host(guard: Guard) -> None:
    _, page, _ = ask(guard, "/")
    assert {key: page[key] for key in HEADERS} == HEADERS
    assert "default-src 'self'" in page["content-security-policy"]
    _, image, _ = ask(guard, f"{API}/file={guard.cache}/a/crop 1.webp")
    assert image["cache-control"] == "no-store"


def test_web_sockets_are_closed(guard: Guard) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard({"type": "websocket", "path": "/"}, send, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
