"""FGD by Python loops, and what its test files share."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from torch import Tensor

from kd_yolo.losses import build_loss
from kd_yolo.losses.fgd import FocalGlobalLoss
from kd_yolo.losses.gc_block import GlobalContext

from .properties import random

SHAPE, IMAGE_HW = (2, 3, 4, 5), (32, 40)
WEIGHTS = {"alpha": 0.9, "beta": 0.4, "gamma": 0.3, "lambda_": 0.2}
BOXES = [[[9.0, 1.0, 20.0, 12.0], [14.0, 3.0, 39.0, 31.0]], []]


def build(channels: int = 3, **params: Any) -> FocalGlobalLoss:
    loss = build_loss("fgd", channels=channels, **params)
    assert isinstance(loss, FocalGlobalLoss)
    return loss


def context(boxes: list[Any] = BOXES, image_hw: tuple[float, float] = IMAGE_HW) -> dict[str, Any]:
    return {"boxes_xyxy": [torch.tensor(b, dtype=torch.float64).reshape(-1, 4) for b in boxes], "image_hw": image_hw}


def shake(loss: FocalGlobalLoss) -> FocalGlobalLoss:
    """Random weights everywhere: those of the start make both context blocks return their input."""
    for i, weight in enumerate(loss.parameters()):
        weight.data = random(*weight.shape, seed=100 + i, scale=0.5)
    return loss


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in values)
    return [math.exp(x) / total for x in values]


def naive_attention(x_chw: Tensor, tau: float) -> tuple[list[float], list[float]]:
    """Of every position, row by row, and of every channel."""
    c, h, w = x_chw.shape
    places = list(product(range(h), range(w)))
    space = [sum(abs(x_chw[k, i, j].item()) for k in range(c)) / c / tau for i, j in places]
    channel = [sum(abs(x_chw[k, i, j].item()) for i, j in places) / (h * w) / tau for k in range(c)]
    return [h * w * x for x in softmax(space)], [c * x for x in softmax(channel)]


def naive_masks(boxes: list[list[float]], image_hw: tuple[float, float], h: int, w: int) -> tuple[list, list]:
    """Foreground and background by loops over boxes and cells."""
    fg = [[0.0] * w for _ in range(h)]
    for x0, y0, x1, y1 in boxes:
        left, right = math.floor(x0 * w / image_hw[1]), math.ceil(x1 * w / image_hw[1])
        top, bottom = math.floor(y0 * h / image_hw[0]), math.ceil(y1 * h / image_hw[0])
        for i in range(top, bottom + 1):
            for j in range(left, right + 1):
                if 0 <= i < h and 0 <= j < w:
                    fg[i][j] = max(fg[i][j], 1 / ((bottom - top + 1) * (right - left + 1)))
    num_bg = sum(value == 0 for row in fg for value in row)
    return fg, [[1 / num_bg if value == 0 else 0.0 for value in row] for row in fg]


def naive_block(block: GlobalContext, x_chw: Tensor) -> Tensor:
    """The map with its global context."""
    c, h, w = x_chw.shape
    first, norm, _, last = block.say
    places = list(product(range(h), range(w)))
    look = block.look.weight.reshape(-1).tolist()
    share = softmax([sum(look[k] * x_chw[k, i, j].item() for k in range(c)) for i, j in places])
    pooled = [sum(p * x_chw[k, i, j].item() for p, (i, j) in zip(share, places, strict=True)) for k in range(c)]
    inner = []
    for row, bias in zip(first.weight.flatten(1).tolist(), first.bias.tolist(), strict=True):
        inner.append(bias + sum(a * b for a, b in zip(row, pooled, strict=True)))
    mean = sum(inner) / len(inner)
    deviation = math.sqrt(sum((x - mean) ** 2 for x in inner) / len(inner) + norm.eps)
    scale, shift = norm.weight.reshape(-1).tolist(), norm.bias.reshape(-1).tolist()
    inner = [max(0.0, (x - mean) / deviation * a + b) for x, a, b in zip(inner, scale, shift, strict=True)]
    out = x_chw.clone()
    for k, (row, bias) in enumerate(zip(last.weight.flatten(1).tolist(), last.bias.tolist(), strict=True)):
        out[k] += bias + sum(a * b for a, b in zip(row, inner, strict=True))
    return out


def naive(
    loss: FocalGlobalLoss, student: Tensor, teacher: Tensor, boxes: list[Any], weights: dict[str, float], tau: float
) -> float:
    n, c, h, w = student.shape
    total = 0.0
    for image in range(n):
        s, t = student[image], teacher[image]
        (space_s, channel_s), (space_t, channel_t) = naive_attention(s, tau), naive_attention(t, tau)
        fg, bg = naive_masks(boxes[image], IMAGE_HW, h, w)
        for k, i, j in product(range(c), range(h), range(w)):
            weight = space_t[i * w + j] * channel_t[k] * (s[k, i, j].item() - t[k, i, j].item()) ** 2
            total += (weights["alpha"] * fg[i][j] + weights["beta"] * bg[i][j]) * weight
        differences = [abs(a - b) for a, b in zip(space_s + channel_s, space_t + channel_t, strict=True)]
        total += weights["gamma"] * sum(differences)
        relation = naive_block(loss.student_block, s) - naive_block(loss.teacher_block, t)
        total += weights["lambda_"] * sum(x**2 for x in relation.reshape(-1).tolist())
    return total / n
