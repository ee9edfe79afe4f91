"""Masked generative distillation: the student's map, partly hidden, has to regenerate the teacher's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import FeatureLoss, losses, run_in_precision_of
from kd_yolo.losses.checks import COUNT, POSITIVE, SEED, SHARE, check_parameter


def generation_error(generated_nchw: Tensor, teacher_nchw: Tensor, *, alpha: float) -> Tensor:
    """``alpha / N * sum_nchw (G(M * S) - T)^2``.

    The convention is the paper's: a SUM over channels and positions, a mean over images only. The number therefore
    grows with C*H*W: alpha * C*H*W = 33 / 8 / 2 times the mean squared error at P3 / P4 / P5 for 640 pixels, C = 256.

    Args:
        generated_nchw: G(M * S), the generator's answer to the masked student map (N,C,H,W).
        teacher_nchw: teacher map of the same shape.
        alpha: scale > 0.

    Returns:
        A scalar >= 0.

    References:
        Yang et al., "Masked Generative Distillation", ECCV 2022, arXiv 2205.01529: the generation of the teacher's
        feature from the masked one; 1/N and the mask shared by all channels as in the authors' code.
    """
    return alpha / len(teacher_nchw) * (generated_nchw - teacher_nchw).square().sum()


def build_generator(channels: int, bottleneck: int | None, seed: int) -> nn.Sequential:
    """conv3x3 - ReLU - conv3x3 as published, or conv1x1 - ReLU - conv3x3 - ReLU - conv1x1 through ``bottleneck``.

    The weights are torch's default initialisation under their own seed: the global random state is left as it was, so
    that adding this loss does not change the student's initialisation or the order of the data.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
        if bottleneck is None:
            return nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
            )
        squeeze, middle = nn.Conv2d(channels, bottleneck, 1), nn.Conv2d(bottleneck, bottleneck, 3, padding=1)
        return nn.Sequential(squeeze, nn.ReLU(), middle, nn.ReLU(), nn.Conv2d(bottleneck, channels, 1))


@losses.register("mgd")
class MaskedGenerativeLoss(FeatureLoss):
    """Regenerates the teacher's map from the student's with random positions masked; trains a small generator.

    The mask M (N,1,H,W) is float, 1 with probability ``1 - mask_ratio``, drawn at every call on the CPU from a random
    stream of its own. The stream's state is part of the ``state_dict``, so a resumed run draws the masks that an
    uninterrupted one would have drawn; deep copies go on from the same state, each on its own.

    Args:
        channels: channels C of the teacher's map; the student is aligned to them before it is masked.
        alpha: scale > 0 of the summed error, see :func:`generation_error`.
        mask_ratio: share of positions that are hidden (the paper's lambda), >= 0 and < 1.
        bottleneck: inner channels of a cheaper generator; None is the published one.
        seed: seed of the masks and of the generator's weights.

    Raises:
        ConfigError: a parameter is out of range; at the call, maps whose channels are not ``channels``.
    """

    paper = "Yang et al. 2022, arXiv 2205.01529"
    default_share = 0.1  # a sum over positions: a weight would mean 14 times as much at 640 pixels as at 160

    def __init__(
        self,
        channels: int,
        alpha: float = 2e-5,
        mask_ratio: float = 0.65,
        bottleneck: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_parameter("mgd", "channels", channels, COUNT, usual=256)
        check_parameter("mgd", "alpha", alpha, POSITIVE, usual=2e-5)
        check_parameter("mgd", "mask_ratio", mask_ratio, SHARE, usual=0.65)
        check_parameter("mgd", "seed", seed, SEED, usual=0)
        if bottleneck is not None:
            check_parameter("mgd", "bottleneck", bottleneck, COUNT, usual=64)
        self.channels = channels
        self.alpha = alpha
        self.mask_ratio = mask_ratio
        self.generator = build_generator(channels, bottleneck, seed)
        # The state, not a torch.Generator: it can be copied, pickled and saved; not a buffer: it stays on the CPU.
        # Always replaced, never written in place, so that saved states do not move.
        self._mask_rng_state = torch.Generator("cpu").manual_seed(seed).get_state()

    def compute(self, student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
        """Mask, generate, compare; see :func:`generation_error`."""
        num_images, num_channels, height, width = student_nchw.shape
        if num_channels != self.channels:
            raise ConfigError(
                f"loss 'mgd' was built with channels={self.channels}, the maps have {num_channels}:"
                f" build it with channels={num_channels}, the teacher's."
            )
        keep_n1hw = self.draw_keep_mask(num_images, height, width).to(student_nchw)
        generated_nchw = run_in_precision_of(student_nchw * keep_n1hw, self.generator)
        return generation_error(generated_nchw, teacher_nchw, alpha=self.alpha)

    def draw_keep_mask(self, num_images: int, height: int, width: int) -> Tensor:
        """The next mask (N,1,H,W) of the stream: 1.0 is kept, 0.0 is hidden; on the CPU."""
        rng = torch.Generator("cpu")
        rng.set_state(self._mask_rng_state)
        uniform_n1hw = torch.rand((num_images, 1, height, width), generator=rng, dtype=torch.float32, device="cpu")
        self._mask_rng_state = rng.get_state()
        return (uniform_n1hw >= self.mask_ratio).float()

    def get_extra_state(self) -> Tensor:
        """The state of the mask stream as a uint8 tensor, which ``torch.load(weights_only=True)`` can read."""
        return self._mask_rng_state

    def set_extra_state(self, state: Tensor) -> None:
        """Goes on with a saved stream; also after the file was mapped to a GPU or halved (bytes are exact in half)."""
        self._mask_rng_state = state.to(device="cpu", dtype=torch.uint8)
