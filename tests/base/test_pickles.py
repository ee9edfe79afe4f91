"""The scan of pickles against an unpickler that writes down what it is asked for: made at random, and tampered with."""

from __future__ import annotations

import io
import pickletools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import ultralytics.nn.tasks as tasks

from kd_yolo.base.errors import InputError
from kd_yolo.base.pickle_facts import Made, Name, PickleFacts, ScanError, TooLargeError
from kd_yolo.base.pickles import scan_pickle
from kd_yolo.base.torch_files import is_plain_call, is_plain_name
from kd_yolo.reid.model.pickle_policy import check_pickle, names_beyond_plain
from kd_yolo.yolo.files import allow_list, unpickle
from kd_yolo.yolo.files.file_kind import Kind
from tests.base.pickle_streams import Maker, mutated, recorded
from tests.trust.strangers import tiny_model

SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 40))]


def scanned(data: bytes) -> PickleFacts | None:
    """What the scan finds; None for what it refuses."""
    try:
        return scan_pickle(io.BytesIO(data))
    except ScanError:
        return None


def texts(names: Any) -> set[str]:
    return {str(name) for name in names}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_whole_pickle_asks_for_is_what_the_scan_says(seed: int) -> None:
    calls = 0
    for number in range(100):
        data = Maker(1000 * seed + number).pickle()
        assert list(pickletools.genops(data))
        found, (recorder, ended) = scan_pickle(io.BytesIO(data)), recorded(data)
        assert ended, data
        assert texts(found.named) == set(recorder.names), data
        assert texts(found.called) == set(recorder.calls), data
        assert texts(found.made) == set(recorder.made), data
        assert len(found.storages) == recorder.outside, data
        assert not found.opaque, data
        assert [str(call.what) for call in found.calls if str(call.what) in recorder.calls] == [
            str(call.what) for call in found.calls if call.what in found.called
        ]
        calls += len(recorder.calls)
    assert calls > 20  # the pickles are no heaps of numbers


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_asked_for_that_the_scan_did_not_see(seed: int) -> None:
    """Of tampered pickles too: what it lets through, without what it could not follow, holds no surprise."""
    rng = random.Random(seed)
    through = 0
    for number in range(400):
        data = mutated(Maker(1000 * seed + number).pickle(), rng)
        found, (recorder, _) = scanned(data), recorded(data)
        if found is None or found.opaque:
            continue
        through += 1
        assert set(recorder.names) <= texts(found.named), data
        assert set(recorder.calls) <= texts(found.called), data
        assert set(recorder.made) <= texts(found.made), data
        assert recorder.methods == [], data
        assert recorder.outside <= len(found.storages), data
    assert through > 20


def pickle_of(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    record: bytes = torch._C.PyTorchFileReader(io.BytesIO(buffer.getvalue())).get_record("data.pkl")
    return record


def passes_yolo(found: PickleFacts) -> bool:
    try:
        unpickle._refuse_unknown(unpickle.Path("x.pt"), found, Kind.ZIP)
    except InputError:
        return False
    return True


def passes_reid(found: PickleFacts) -> bool:
    try:
        check_pickle(found)
    except (InputError, ScanError):
        return False
    return names_beyond_plain([found]) == []


def allowed_yolo(name: Name) -> bool:
    return is_plain_name(name) or allow_list.resolve(name) is not None


def reid_values() -> dict[str, Any]:
    layer = torch.nn.BatchNorm2d(3)
    return {"format": "kd-yolo reid", "state_dict": layer.state_dict(), "identities": [1, "2"], "metrics": {"mAP": 0.5}}


POLICIES: dict[str, tuple[Callable[[], Any], Callable[[PickleFacts], bool], Any, Any]] = {
    "yolo": (lambda: {"model": tiny_model().model[0]}, passes_yolo, allowed_yolo, allow_list.is_callable_name),
    "reid": (reid_values, passes_reid, is_plain_name, is_plain_call),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("door", POLICIES)
def test_a_tampered_checkpoint_asks_for_allowed_names_only(door: str, seed: int) -> None:
    make, passes, is_allowed, may_be_called = POLICIES[door]
    whole = pickle_of(make())
    untouched = scanned(whole)
    assert untouched is not None
    assert passes(untouched)
    rng = random.Random(seed)
    through = 0
    for _ in range(150):
        data = mutated(whole, rng, most=1)
        found, (recorder, _) = scanned(data), recorded(data)
        if found is None or not passes(found):
            continue
        through += 1
        asked = {name: Name(*name.rsplit(".", 1)) for name in {*recorder.names, *recorder.calls}}
        assert all(is_allowed(asked[name]) for name in recorder.names)
        assert all(may_be_called(asked[name]) for name in recorder.calls)
        assert recorder.methods == []
    assert through > 2


def test_a_network_is_scanned_whole() -> None:
    found = scan_pickle(io.BytesIO(pickle_of({"model": tiny_model()})))
    assert isinstance(found.value, Made)
    assert Name(tasks.__name__, "DetectionModel") in found.made
    assert Name("torch._utils", "_rebuild_parameter") in found.called
    assert len(found.storages) > 30
    assert not found.opaque


def test_a_name_with_a_space_is_not_split_elsewhere() -> None:
    """``pickletools`` joins module and name with a space; torch takes them as they are."""
    for data in (b"ca b\nc\n.", b"ca\nb c\n.", b"(ia b\nc\n."):
        with pytest.raises(ScanError, match="a name with a space"):
            scan_pickle(io.BytesIO(data))


OPAQUE = {
    b"\x82\x01.": "an extension code",
    b"\x84\x01\x01\x01\x01.": "an extension code",
    b"NQ.": "something from outside its pickle that is no tensor",
    b"Pa\n.": "something from outside its pickle that is no tensor",
    b"N)R.": "something that it computes",
    b"(No.": "something that it computes",
    b"N\x8c\1a\x93.": "a name that it computes",
    b"ccollections\nOrderedDict\nNa.": "a method of a class",
    b"ccollections\nOrderedDict\n}b.": "a method of a class",
}


@pytest.mark.parametrize("data", OPAQUE)
def test_what_cannot_be_followed_is_said(data: bytes) -> None:
    found = scan_pickle(io.BytesIO(data))
    assert found.opaque == [OPAQUE[data]]
    assert not passes_yolo(found)
    assert not passes_reid(found)


def test_levels_are_counted_in_lists_and_dicts_too() -> None:
    for opens, closes in ((b"]", b"a"), (b"}N", b"s"), (b"", b"\x85")):
        whole = opens * 8 + (b"]" if opens else b")") + closes * 8 + b"."
        assert scan_pickle(io.BytesIO(whole), max_depth=9).value.depth == 9
        with pytest.raises(TooLargeError, match="nested more than 8 levels"):
            scan_pickle(io.BytesIO(whole), max_depth=8)
