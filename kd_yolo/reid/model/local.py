"""The local branch of AlignedReID++: a feature for each horizontal stripe of a person, from head to feet."""

from __future__ import annotations

from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.model.neck import unit_rows

NUM_STRIPES = 8
LOCAL_DIM = 128


class LocalBranch(nn.Module):
    """Maximum of each stripe, 1x1 convolution to 128, BatchNorm, unit length; the same in training and test.

    Args:
        channels: channels C of the map.
        num_rows: rows of the map, a multiple of 8.

    Raises:
        ConfigError: rows that do not make 8 equal stripes.

    References:
        Luo et al., "AlignedReID++", Pattern Recognition 94, 2019, the local branch.
    """

    def __init__(self, channels: int, num_rows: int) -> None:
        super().__init__()
        if num_rows < NUM_STRIPES or num_rows % NUM_STRIPES:
            raise ConfigError(
                f"the local branch cuts the last map into {NUM_STRIPES} equal stripes, but the map has {num_rows} rows:"
                " use network.height=256 with network.last_stride=1, another multiple, or network.local=false."
            )
        self.reduce = nn.Conv2d(channels, LOCAL_DIM, kernel_size=1, bias=False)
        self.norm = nn.BatchNorm2d(LOCAL_DIM)

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Stripes (N,H,128) of unit length, H = 8 from top to bottom."""
        rows_nch = x_nchw.amax(3)
        num_images, channels = rows_nch.shape[:2]
        stripes_nch = rows_nch.reshape(num_images, channels, NUM_STRIPES, -1).amax(3)
        reduced_nch1 = self.norm(self.reduce(stripes_nch.unsqueeze(-1)))
        return unit_rows(reduced_nch1.squeeze(-1).transpose(1, 2))
