"""Tampered ReID checkpoints: each is refused with one clear ``InputError``, or is a network that runs."""

from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tests.reid.tiny_backbone  # noqa: F401, it registers itself
from kd_yolo.base.errors import InputError
from kd_yolo.reid.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.model.pickle_policy import MAX_PICKLE_BYTES
from kd_yolo.reid.model.settings import NetworkConfig

CONFIG = NetworkConfig(backbone="tiny_resnet", height=64, width=32, num_identities=3)
CONV, NORM = "backbone.layer1.0.conv1.weight", "backbone.bn1.running_var"
NAN = float("nan")
OLD = 0x1950A86A20F9469CFC6C  # torch's magic number before the archives


def narrow(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A pruned network: half of all channels but those of the embedding."""
    found = {}
    for name, value in state.items():
        whole_rows = value.ndim == 0 or re.search(r"layer4\.0\.(conv2|bn2|downsample)|neck|head", name)
        whole_columns = value.ndim < 2 or re.search(r"backbone\.conv1|head", name)
        part = value if whole_rows else value[: len(value) // 2]
        found[name] = (part if whole_columns else part[:, : part.shape[1] // 2]).clone()
    return found


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    state = narrow(ReIDModel(CONFIG).state_dict())
    checkpoint = Checkpoint(CONFIG, state, [7, 9, "0012"], {"mAP": 0.5}, epoch=4)
    return save_checkpoint(tmp_path_factory.mktemp("good") / "best.pt", checkpoint)


@pytest.fixture(scope="module")
def values(good: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(good, weights_only=True)
    return loaded


def changed(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy in which ``a/b`` has another value, or is gone where it is ``KeyError``."""
    first, _, rest = path.partition("/")
    inner = dict(values)
    if rest:
        inner[first] = changed(values[first], rest, value)
    elif value is KeyError:
        del inner[first]
    else:
        inner[first] = value
    return inner


def repeated(count: int) -> list[Any]:
    """A few objects that stand for 10 ** count values."""
    item: list[Any] = [0] * 10
    for _ in range(count - 1):
        item = [item] * 10
    return item


def circle() -> list[Any]:
    item: list[Any] = []
    item.append(item)
    return item


def nested(levels: int) -> list[Any]:
    item: list[Any] = []
    for _ in range(levels):
        item = [item]
    return item


VALUES: list[tuple[str, Any]] = [
    ("format", 1), ("format", "kd-yolo yolo"), ("format", KeyError),
    ("version", -1), ("version", "1"), ("version", None), ("version", 2), ("version", 10**400), ("version", KeyError),
    ("config", KeyError), ("config", None), ("config", [1]), ("config/unknown", 1),
    ("config/backbone", "resnet19"), ("config/backbone", "x" * 10**6), ("config/backbone", 18),
    ("config/backbone", "resnet50"), ("config/backbone", "timm:../../etc/passwd"), ("config/backbone", ""),
    ("config/backbone", "timm:mobilenetv3_small_050"), ("config/backbone", "timm:vit_giant_patch14_dinov2"),
    ("config/last_stride", 3), ("config/last_stride", 2), ("config/last_stride", "1"), ("config/last_stride", True),
    ("config/pool", "gem"), ("config/pool", "max"), ("config/pool", "sum"), ("config/pool", None),
    ("config/embedding", -1), ("config/embedding", 10**9), ("config/embedding", 64), ("config/embedding", 1.5),
    ("config/head", "arcface"), ("config/head", "softmax"), ("config/head", []),
    ("config/local", True), ("config/local", "yes"), ("config/local", 1),
    ("config/height", 0), ("config/height", -64), ("config/height", 10**9), ("config/height", 128),
    ("config/height", 64.0), ("config/height", NAN), ("config/height", None), ("config/width", 33),
    ("config/width", 10**30), ("config/num_identities", 0), ("config/num_identities", 10**7),
    ("config/num_identities", 10**12), ("config/num_identities", -3), ("config/num_identities", "3"),
    ("config/mean", (NAN, 0.0, 0.0)), ("config/mean", (0.5,)), ("config/mean", ()), ("config/mean", "0.5"),
    ("config/std", (0.0, 1.0, 1.0)), ("config/std", (-1.0, 1.0, 1.0)), ("config/std", (1.0, 1.0, float("inf"))),
    ("state_dict", KeyError), ("state_dict", {}), ("state_dict", None), ("state_dict", [torch.ones(1)]),
    ("state_dict", {1: torch.ones(1)}), ("state_dict/extra.weight", torch.ones(3)), ("state_dict/" + CONV, KeyError),
    ("state_dict/" + CONV, torch.full((4, 4, 3, 3), NAN)), ("state_dict/" + CONV, torch.ones(4, 4, 3, 3, 1)),
    ("state_dict/" + CONV, torch.tensor(1.0)), ("state_dict/" + CONV, torch.ones(0)), ("state_dict/" + CONV, 3),
    ("state_dict/" + CONV, torch.ones(3, 4, 3, 3)), ("state_dict/" + CONV, torch.ones(4, 5, 3, 3)),
    ("state_dict/" + CONV, torch.ones(4, 4, 3, 3, dtype=torch.int64)), ("state_dict/" + CONV, "weights"),
    ("state_dict/" + CONV, torch.ones(4, 4, 3, 3, dtype=torch.complex64)),
    ("state_dict/" + CONV, torch.full((4, 4, 3, 3), 3e38)), ("state_dict/" + CONV, torch.ones(4, 4, 3, 3).half()),
    ("state_dict/" + CONV, torch.ones(4, 4, 3, 3).to_sparse()), ("state_dict/" + CONV, torch.ones(1).expand(10**9)),
    ("state_dict/" + NORM, torch.full((4,), -1.0)), ("state_dict/" + NORM, torch.ones(5)),
    ("state_dict/head.weight", torch.full((3, 32), float("inf"))), ("state_dict/head.weight", torch.ones(4, 32)),
    ("identities", KeyError), ("identities", [1, 2]), ("identities", [1, 2, None]), ("identities", (1, 2, 3)),
    ("identities", []), ("identities", [1.5, 2, 3]), ("identities", [True, 1, 2]), ("identities", {"a": 1}),
    ("metrics", KeyError), ("metrics", {"mAP": "0.5"}), ("metrics", {"mAP": NAN}), ("metrics", []),
    ("epoch", KeyError), ("epoch", -1), ("epoch", 1.5), ("epoch", 10**30), ("epoch", "4"),
    ("extra", KeyError), ("extra", None), ("extra", {"unknown": 1}), ("extra", {"settings": 3}),
    ("extra", {"train": {}}), ("extra", {"train": {"objective": {}}}), ("extra", {"pruned": [1]}),
    ("unknown", 1), ("epoch", nested(100)), ("extra", {"settings": {"a": repeated(9)}}), ("metrics", circle()),
]  # fmt: skip
RUNS = {  # what changes a network, or says less of it, and still is one
    ("config/last_stride", 2), ("config/last_stride", True), ("config/pool", "max"), ("config/head", "arcface"),
    ("config/height", 128), ("config/width", 33),
}  # fmt: skip


def outcome(path: Path) -> str:
    """ "runs" for a network that gives finite embeddings of unit length, else the message of the ``InputError``."""
    try:
        model = ReIDModel.load(path)
    except InputError as error:
        text = str(error)
        assert len(text) < 700
        assert "\n" not in text
        assert str(path) in text
        return text
    found_nd = model.embed(torch.rand(2, 3, model.config.height, model.config.width))
    torch.testing.assert_close(found_nd.norm(dim=1), torch.ones(2))
    return "runs"


def test_every_change_of_a_value(values: dict[str, Any], tmp_path: Path) -> None:
    assert len(VALUES) > 100
    path = tmp_path / "tampered.pt"
    for place, value in VALUES:
        torch.save(changed(values, place, value), path)
        found = outcome(path)
        plain = isinstance(value, int | str) and (place, value) in RUNS
        half = isinstance(value, torch.Tensor) and value.dtype == torch.float16
        empty = (place, value) == ("identities", []) if isinstance(value, list) else False
        assert (found == "runs") == (plain or half or empty), (place, str(value)[:60], found[:200])


def archive_of(
    good: Path, change: Callable[[str, bytes], bytes | None], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """The checkpoint's archive with records changed, or left out where the change gives None."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(buffer, "w", compression) as target:
        for name in source.namelist():
            data = change(name, source.read(name))
            if data is not None:
                target.writestr(name, data)
    return buffer.getvalue()


def pickled(good: Path, data: bytes) -> bytes:
    """The archive with another pickle of values."""
    return archive_of(good, lambda name, old: data if name.endswith("data.pkl") else old)


def claiming(good: Path, old: bytes, new: bytes) -> bytes:
    """The archive with bytes of its pickle changed; they are there."""

    def change(name: str, data: bytes) -> bytes:
        assert not name.endswith("data.pkl") or old in data
        return data.replace(old, new) if name.endswith("data.pkl") else data

    return archive_of(good, change)


def files(good: Path) -> dict[str, bytes]:
    """Bytes that are no checkpoint any more, by what was done."""
    whole = good.read_bytes()
    terabyte = pickle.LONG1 + b"\x06" + (10**12).to_bytes(6, "little")
    storage = b"ctorch\nFloatStorage\n"
    size = b"M\x4c\x02"  # 588, of the first convolution
    huge = (
        b"\x80\x02(X\x07\x00\x00\x00storage" + storage + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + terabyte + b"tQ."
    )
    return {
        "empty": b"", "zeros": bytes(4096), "text": b"hello", "PK": b"PK\x03\x04",
        "PK and zeros": b"PK\x03\x04" + bytes(999),
        "cut at half": whole[: len(whole) // 2], "cut at the end": whole[:-30], "without a head": whole[100:],
        "one byte more in the directory": whole[:-40] + b"\x00" + whole[-40:],
        "no pickle": archive_of(good, lambda name, data: None if name.endswith("data.pkl") else data),
        "empty pickle": pickled(good, b""), "no value": pickled(good, b"\x80\x02."), "None": pickled(good, b"N."),
        "no storages": archive_of(good, lambda name, data: None if "/data/" in name else data),
        "short storages": archive_of(good, lambda name, data: data[:4] if "/data/" in name else data),
        "a claim of a terabyte": claiming(good, size, terabyte), "a storage of a terabyte": pickled(good, huge),
        "an old one of a terabyte": b"".join(pickle.dumps(x, 2) for x in (OLD, 1001, {})) + huge + b"].",
        "compressed": archive_of(good, lambda name, data: data, zipfile.ZIP_DEFLATED),
        "a bomb": archive_of(good, lambda name, data: data + bytes(1 << 16), zipfile.ZIP_DEFLATED),
        "a huge pickle": pickled(good, b"\x80\x02" + b"N0" * MAX_PICKLE_BYTES + b"N."),
        "memo": pickled(good, b"\x80\x02Nr\xff\xff\xff\x7f."), "memo of an old file": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "deep": pickled(good, b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b"."),
        "deep old": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".", "frames": b"\x80\x04\x95" + b"\xff" * 8,
        "a long text": pickled(good, b"\x80\x02X\xff\xff\xff\x7f."),
        "an extension": pickled(good, b"\x80\x02\x82\x01."),
        "code": pickled(good, b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."),
        "code by new": pickled(good, b"\x80\x02cbuiltins\nexec\nX\x04\x00\x00\x00pass\x85\x81."),
        "an unknown class": pickled(good, b"\x80\x02cnumpy\nndarray\n)R."), "no mark": pickled(good, b"\x80\x02t."),
        "a strange id": pickled(good, b"\x80\x02X\x01\x00\x00\x00aQ."), "no id": pickled(good, b"\x80\x02NQ."),
        "a sparse tensor": pickled(good, b"\x80\x02ctorch._utils\n_rebuild_sparse_tensor\nN)\x86R."),
        "a tensor of nothing": pickled(good, b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R."),
        "random": os.urandom(5000), "old random": b"\x80\x02" + bytes(range(256)),
        "an array": b"\x93NUMPY" + bytes(100),
    }  # fmt: skip


def test_every_change_of_the_file(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "tampered.pt"
    for name, data in files(good).items():
        path.write_bytes(data)
        assert outcome(path) != "runs", name


def test_bytes_flipped_at_random(good: Path, tmp_path: Path) -> None:
    """In the pickle and the directory, where the structure is; the numbers of the weights may be any."""
    rng = torch.Generator().manual_seed(3)
    path, whole = tmp_path / "flipped.pt", good.read_bytes()
    start = whole.index(b"data.pkl") + 8
    for number in range(30):
        place = int(torch.randint(6000, (), generator=rng)) + (start if number % 2 else len(whole) - 6000)
        data = bytearray(whole)
        data[place] ^= 1 << int(torch.randint(8, (), generator=rng))
        path.write_bytes(data)
        outcome(path)


def test_the_file_itself_is_whole(good: Path) -> None:
    assert outcome(good) == "runs"
    assert load_checkpoint(good).epoch == 4


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "link.pt").symlink_to("/dev/zero")
    for path, kind in ((tmp_path / "pipe.pt", "a pipe"), (tmp_path / "link.pt", "a device"), (tmp_path, "a folder")):
        assert f"is {kind}, expected a file" in outcome(path)
    for name in ("x\0.pt", "y" * 300 + ".pt", "gone.pt"):
        with pytest.raises(InputError, match="cannot be opened"):
            load_checkpoint(name)


def test_a_sparse_file_of_a_terabyte(tmp_path: Path) -> None:
    with (tmp_path / "huge.pt").open("wb") as stream:
        stream.write(b"PK\x03\x04")
        stream.truncate(1 << 40)
    assert "expected at most" in outcome(tmp_path / "huge.pt")
