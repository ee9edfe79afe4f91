"""The table of ultralytics' arguments: complete, no stricter than its defaults, and every bad value one clear line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.cfg import CFG_BOOL_KEYS, CFG_FLOAT_KEYS, CFG_FRACTION_KEYS, CFG_INT_KEYS, get_cfg
from ultralytics.utils import DEFAULT_CFG_DICT

from kd_yolo.base.errors import ConfigError
from kd_yolo.yolo.arguments.check import (
    check_arguments,
    check_trainer_arguments,
    find_problems,
    join_flags,
    parse_overrides,
)
from kd_yolo.yolo.arguments.table import COMMANDS, REMOVED, RENAMED, TABLE

TRAINED = sorted(key for key, known in TABLE.items() if "train" not in known.refused)
REFUSED = sorted(key for key, known in TABLE.items() if "train" in known.refused)
# A word a key as ultralytics' documentation writes it, where the rule's own example is not one.
WORDS = {
    "data": "coco8.yaml", "project": "runs/mine", "name": "exp_1", "time": "0.5", "batch": "16", "imgsz": "640",
    "device": "cpu", "cache": "ram", "classes": "0,2", "freeze": "[0,1,2]", "fraction": "[0.5,0.2]",
    "scale": "(0.5,1.5)", "amp": "bf16", "compile": "max-autotune-no-cudagraphs", "pretrained": "False",
    "optimizer": "adamw", "epochs": "1e2", "save_period": "-1", "auto_augment": "none", "nms": "False",
    "copy_paste_mode": "mixup", "split": "test", "conf": "0.25", "close_mosaic": "0", "warmup_epochs": "0",
    "seed": str(2**32 - 1), "lr0": "1e-2", "channels_last": "True", "shear": "-2.5", "patience": "0",
}  # fmt: skip
GOOD = {key: WORDS.get(key, str(TABLE[key].rule.example)) for key in TRAINED}


def test_the_table_has_every_key_of_ultralytics() -> None:
    assert set(TABLE) == set(DEFAULT_CFG_DICT)


def test_every_default_obeys_its_rule() -> None:
    assert [key for key, value in DEFAULT_CFG_DICT.items() if not TABLE[key].rule.holds(value)] == []


def test_examples_obey_their_rule_and_ultralytics() -> None:
    for key in TRAINED:
        example = TABLE[key].rule.example
        assert TABLE[key].rule.holds(example), key
        get_cfg(dict(DEFAULT_CFG_DICT), {key: example})


@pytest.mark.parametrize("key", TRAINED)
def test_a_good_word_for_every_key(key: str) -> None:
    values = parse_overrides(
        [f"{key}={GOOD[key]}", *(["save_txt=True"] if key == "save_conf" else [])], command="train"
    )
    get_cfg(dict(DEFAULT_CFG_DICT), values)
    assert type(values["epochs"]) is int if key == "epochs" else key in values


@pytest.mark.parametrize("key", REFUSED)
@pytest.mark.parametrize("command", ["train", "distill"])
def test_what_a_training_has_no_use_for_is_refused_with_what_to_do(key: str, command: Any) -> None:
    if command not in TABLE[key].refused:
        pytest.skip("another command's")
    (problem,) = find_problems({key: DEFAULT_CFG_DICT[key]}, command)
    assert problem.startswith(f"'{key}=")
    assert len(problem) > len(key) + 20


def test_reasons_are_sentences_without_a_dot() -> None:
    for known in TABLE.values():
        assert set(known.refused) <= set(COMMANDS)
        assert all(why and not why.endswith(".") and "  " not in why for why in known.refused.values())


@pytest.mark.parametrize(
    "value",
    [0.5, 1, 1.0, 2, 100, 2.0, 0, -1, -2, 1.5, True, [0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [20, 10],
     [20, 0.5, 0], [20, 10, 5], [1.5, 0.5], [-1, 0.5], [0.5], [0.5] * 4, [0.5, 20.0]],
)  # fmt: skip
def test_shares_and_numbers_of_images_are_those_of_ultralytics(value: Any) -> None:
    """For train, val and test: a training does not read the last, which may be none."""
    try:
        get_cfg(dict(DEFAULT_CFG_DICT), {"fraction": value})
        taken = True
    except (TypeError, ValueError):
        taken = False
    assert TABLE["fraction"].rule.holds(value) == taken


BAD: dict[str, tuple[str, ...]] = {
    "imgsz": ("0", "-1", "31", "8193", "640.0", "abc", "[640,480]", "1000000000", "True", "nan"),
    "batch": ("0", "-2", "1.5", "-0.5", "70000", "many", "True", "-1", "0.7"),  # the last two: no GPU here
    "epochs": ("0", "-1", "2.5", "three", "True", "1e99", "nan"),
    "time": ("0", "-1", "nan", "inf", "1e9", "True", "soon"),
    "patience": ("-1", "1.5", "True"),
    "workers": ("-1", "2000", "1.5", "two"),
    "fraction": ("0", "-2", "-0.5", "1.5", "nan", "True", "[0,1]", "[0.5]", "[0.5,0.5,0.5,0.5]", "[0.5,nan]"),
    "classes": ("-1", "0.5", "[]", "0,0", "a", "[0,'b']", "True", "99999999999"),
    "cache": ("wat", "1", "2", "[]", "none"),
    "close_mosaic": ("-1", "0.5", "True"),
    "warmup_epochs": ("-1", "nan", "inf", "True"),
    "optimizer": ("Foo", "3", "SGDD", "True"),
    "device": ("banana", "cuda:x", "0,0", "0,cpu", "-2", "cpu,cpu", "gpu", "0", "cuda", "1,2", "9999999", "True"),
    "seed": ("-1", str(2**32), "0.5", "True", "nan"),
    "freeze": ("-1", "1.5", "5000", "a", "True", "[-1]", "[]", "[0.5]"),
    "lr0": ("0", "-0.1", "nan", "inf", "2", "True", "fast"),
    "lrf": ("-0.1", "1.5", "nan"),
    "momentum": ("1", "-0.1", "nan", "1.5"),
    "weight_decay": ("-1", "2", "inf"),
    "mosaic": ("-0.1", "1.1", "nan", "True"),
    "degrees": ("-1", "181", "nan"),
    "scale": ("-0.1", "1.5", "(0,1)", "(2,1)", "(1,2,3)", "nan", "True", "('a','b')"),
    "shear": ("-181", "inf"),
    "hsv_h": ("-0.1", "1.1"),
    "box": ("-1", "nan", "inf", "True", "big"),
    "amp": ("fp8", "1", "None"),
    "compile": ("fast", "1"),
    "split": ("validation", "1"),
    "name": ("../x", "/abs", "a/b", "a\\b", ".", "..", "x" * 300),
    "project": ("x" * 5000,),
    "conf": ("-0.1", "1.1", "nan"),
    "iou": ("1.1", "-1"),
    "max_det": ("0", "-1", "1e9"),
    "nbs": ("0", "-1", "1.5"),
    "save_period": ("-2", "0.5"),
    "mask_ratio": ("0", "65"),
    "multi_scale": ("-0.5", "1.5", "True"),
    "copy_paste_mode": ("swap", "1"),
    "auto_augment": ("all", "1"),
    "dropout": ("-0.1", "1.1"),
    "cls_pw": ("-1", "2"),
    "rect": ("yes", "1", "None"),
    "single_cls": ("1", "maybe"),
    "val": ("1",),
    "nms": ("True", "1"),
    "quantize": ("16", "fp32", "9"),
    "resume": ("True", "last.pt"),
    "cfg": ("mine.yaml",),
}  # fmt: skip
PAIRS = [f"{key}={value}" for key, values in BAD.items() for value in values]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[:30])
@pytest.mark.parametrize("command", ["train", "distill", "league"])
def test_a_bad_value_is_one_clear_line(pair: str, command: Any) -> None:
    with pytest.raises(ConfigError) as error:
        parse_overrides([pair], command=command)
    message = str(error.value)
    key = pair.partition("=")[0]
    assert len(message.splitlines()) == 1
    assert 20 < len(message) < 800
    assert key in message


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse_overrides(
            ["imgsz=0", "epohcs=3", "show=True", "lr0=nan", "model=a.pt", "half=True", "keras=True", "data="]
        )
    lines = str(error.value).splitlines()
    assert len(lines) == 8
    for part in (
        "imgsz=0: expected a whole number from 32 to 8192, for example imgsz=640.",
        "'epohcs' is not an ultralytics argument. Did you mean 'epochs'?",
        "'show=' is of prediction, a training or an export does nothing with it. Give it to yolo predict.",
        "'model=' is set by --student here.",
        "'half' is an old name of ultralytics: write quantize=16.",
        "'keras' does nothing: ultralytics has removed it. Leave it out.",
        "'data=' has no value.",
    ):
        assert part in lines


def test_old_names_are_really_old() -> None:
    assert not (set(RENAMED) | set(REMOVED)) & set(DEFAULT_CFG_DICT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"momentum": 0, "optimizer": "SGD"}, "needs momentum above 0"),
        ({"save_conf": True}, "does nothing without save_txt=True"),
        ({"batch": 0.5, "device": "cpu"}, "measures the memory of one GPU: on cpu give a number"),
    ],
)
def test_values_that_are_wrong_together(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_arguments(arguments)


def test_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert find_problems({"device": (0, 1), "batch": 16}) == []
    assert find_problems({"device": -1, "batch": -1}) == []
    assert "a multiple of 2" in find_problems({"device": "0,1", "batch": 5})[0]
    assert "one GPU" in find_problems({"device": "0,1", "batch": -1})[0]
    assert "rect=True does nothing" in find_problems({"device": [0, 1], "rect": True})[0]
    assert "has 2 GPUs" in find_problems({"device": 2})[0]
    assert "give one device" in find_problems({"device": (0, 1)}, "league")[0]


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=5),
    st.integers(min_value=10**300, max_value=10**320), st.just(Path("x")), st.just(object()),
)  # fmt: skip
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner))


@settings(max_examples=100, deadline=None)
@given(key=st.sampled_from(TRAINED), value=VALUES)
def test_any_value_is_taken_or_refused_and_what_is_taken_ultralytics_takes(key: str, value: Any) -> None:
    problems = find_problems({key: value})
    if problems:
        assert all(0 < len(problem) < 1000 for problem in problems)
        return
    taken = check_arguments({key: value})
    args = get_cfg(dict(DEFAULT_CFG_DICT), dict(taken))
    number = getattr(args, key)
    if key in CFG_INT_KEYS:
        assert type(number) is int
    elif key in CFG_BOOL_KEYS and number is not None:
        assert type(number) is bool
    elif key in CFG_FLOAT_KEYS | CFG_FRACTION_KEYS and isinstance(number, float):
        assert math.isfinite(number)


def test_a_trainer_takes_the_defaults_of_other_modes_and_nothing_else_of_them() -> None:
    check_trainer_arguments({**DEFAULT_CFG_DICT, "model": "a.pt", "exist_ok": True}, "train")
    with pytest.raises(ConfigError, match="'vid_stride=' is of prediction"):
        check_trainer_arguments({**DEFAULT_CFG_DICT, "vid_stride": 2}, "distill")


def test_a_flag_and_its_key_are_not_both_taken() -> None:
    assert join_flags({"epochs": 1}, {"device": "cpu", "seed": None}, "train") == {"epochs": 1, "device": "cpu"}
    with pytest.raises(ConfigError, match="--seed and seed= say the same"):
        join_flags({"seed": 1}, {"seed": 2}, "train")
    with pytest.raises(ConfigError, match="unknown device 'foo': expected cpu, cuda, cuda:1 or 0"):
        join_flags({}, {"device": "foo"}, "train")
    with pytest.raises(ConfigError, match="seed=-1: expected a whole number"):
        join_flags({}, {"seed": -1}, "train")


def test_exports_take_keys_of_exports() -> None:
    check_arguments({"format": "onnx", "imgsz": (320, 640), "dynamic": True, "quantize": 16, "opset": 17}, "export")
    with pytest.raises(ConfigError, match="'mosaic=' is of training and validation, an export does nothing with it"):
        check_arguments({"mosaic": 1.0}, "export")
