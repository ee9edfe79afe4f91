"""The ReID network: normalisation, backbone, BNNeck, classifier and local branch in one module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.model.backbones import full_name
from kd_yolo.reid.model.checkpoint import Checkpoint, load_checkpoint
from kd_yolo.reid.model.heads import Head, build_head
from kd_yolo.reid.model.local import LocalBranch
from kd_yolo.reid.model.neck import BNNeck, unit_rows
from kd_yolo.reid.model.pretrained import build_backbone
from kd_yolo.reid.model.restore import as_input_error, check_outputs, check_shapes
from kd_yolo.reid.model.settings import NetworkConfig
from kd_yolo.reid.model.widths import fit_widths


@dataclass(frozen=True)
class Features:
    """What the losses take.

    Attributes:
        f_t_nd: features before BNNeck's norm, for the metric losses.
        f_i_nd: features after it, for the classifier.
        local_nhd: stripes of unit length; None without the local branch.
        stages: maps (N,C,H,W) after the ReLU by stage; None where they were not asked for.
    """

    f_t_nd: Tensor
    f_i_nd: Tensor
    local_nhd: Tensor | None = None
    stages: dict[str, Tensor] | None = None


class ReIDModel(nn.Module):
    """Crops to features in training, to embeddings of unit length in eval mode.

    Args:
        config: what to build.
        weights: first weights of the backbone, see :func:`kd_yolo.reid.model.pretrained.build_backbone`.

    Attributes:
        config: with the backbone's full name.
        weights_note: which weights the backbone started with, for the log.
        head: the classifier, or None.
        local: the local branch, or None.

    Raises:
        ConfigError: a setting that does not fit.
        InputError: weights that were asked for are missing or wrong.
    """

    mean_c11: Tensor
    std_c11: Tensor

    def __init__(self, config: NetworkConfig, *, weights: str | None = None) -> None:
        super().__init__()
        self.config = config = config.model_copy(update={"backbone": full_name(config.backbone)})
        for name, values in (("mean", config.mean), ("std", config.std)):
            self.register_buffer(f"{name}_c11", torch.tensor(values).view(3, 1, 1), persistent=False)
        size_hw = (config.height, config.width)
        self.backbone, self.weights_note = build_backbone(
            config.backbone, last_stride=config.last_stride, size_hw=size_hw, weights=weights
        )
        channels = list(self.backbone.channels.values())[-1]
        self.neck = BNNeck(channels, config.embedding, config.pool)
        self.local = LocalBranch(channels, self._num_rows()) if config.local else None
        self.head: Head | None = None
        if config.num_identities:
            self.head = build_head(config.head, self.neck.dim, config.num_identities)

    @classmethod
    def load(cls, path: str | Path, *, backbone: str | None = None) -> ReIDModel:
        """The network of a checkpoint, in eval mode on the CPU.

        Args:
            path: a file that ``kd-yolo reid train`` wrote.
            backbone: the backbone that it must have; None takes any.

        Raises:
            InputError: no such file, not a ReID checkpoint, or one of another backbone.
        """
        return cls.from_checkpoint(load_checkpoint(path, backbone=backbone), str(path))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, source: str = "the checkpoint") -> ReIDModel:
        """The network that a checkpoint describes, in eval mode.

        Raises:
            InputError: the weights are not those of the network that it describes, or give no finite embedding.
        """
        state = dict(checkpoint.state_dict)
        with as_input_error(source):
            outline = _outline(checkpoint.config)
            if outline is not None:
                fit_widths(outline, state)
                check_shapes(outline, state, source)
            model = cls(checkpoint.config)
            fit_widths(model, state)
            check_shapes(model, state, source)
            model.load_state_dict(state)
            check_outputs(_outputs(model.eval()), source)
        model.weights_note = f"{model.config.backbone}: weights of {source}."
        return model.eval()

    @property
    def dim(self) -> int:
        """Length D of the embedding."""
        return self.neck.dim

    def forward(self, x_nchw: Tensor) -> Features | Tensor:
        """Features in training mode, embeddings (N,D) of unit length in eval mode.

        Args:
            x_nchw: crops (N,3,H,W), RGB from 0 to 1.
        """
        return self.features(x_nchw) if self.training else self.embed(x_nchw)

    def features(self, x_nchw: Tensor, *, with_stages: bool = False) -> Features:
        """Features for the losses; in eval mode too, for a teacher.

        Args:
            x_nchw: crops (N,3,H,W), RGB from 0 to 1.
            with_stages: also return the maps of all stages.
        """
        maps = self.backbone(self.normalise(x_nchw))
        last_nchw = list(maps.values())[-1]
        f_t_nd, f_i_nd = self.neck(last_nchw)
        local_nhd = None if self.local is None else self.local(last_nchw)
        return Features(f_t_nd, f_i_nd, local_nhd, maps if with_stages else None)

    def embed(self, x_nchw: Tensor) -> Tensor:
        """Embeddings (N,D) of unit length."""
        maps = self.backbone(self.normalise(x_nchw))
        return unit_rows(self.neck(list(maps.values())[-1])[1])

    def embed_both(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (N,D) and stripes (N,8,128) in one pass.

        Raises:
            ConfigError: the network has no local branch.
        """
        if self.local is None:
            raise ConfigError(
                "this network has no local branch: test.feature=global, or train with network.local=true."
            )
        features = self.features(x_nchw)
        assert features.local_nhd is not None
        return unit_rows(features.f_i_nd), features.local_nhd

    def logits(self, features: Features, targets_n: Tensor | None = None) -> Tensor:
        """Logits (N,K): with the head's margin where targets are given, without it for soft labels.

        Raises:
            ConfigError: the network has no classifier.
        """
        if self.head is None:
            raise ConfigError("this network has no classifier: build it with num_identities, or load one that has it.")
        if targets_n is None:
            return self.head.plain(features.f_i_nd)
        logits_nk: Tensor = self.head(features.f_i_nd, targets_n)
        return logits_nk

    def normalise(self, x_nchw: Tensor) -> Tensor:
        """Crops with the mean of the training images taken off, divided by their deviation.

        Raises:
            ConfigError: not crops of three channels in floating point.
        """
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        if not tracing and (x_nchw.ndim != 4 or x_nchw.shape[1] != 3 or not x_nchw.is_floating_point()):
            raise ConfigError(
                f"the network got {x_nchw.dtype} of shape {tuple(x_nchw.shape)}, expected crops (N,3,H,W) in floating"
                " point, RGB from 0 to 1."
            )
        return (x_nchw - self.mean_c11) / self.std_c11

    def num_parameters(self) -> int:
        """Numbers in all parameters, the classifier's included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def _num_rows(self) -> int:
        was_training = self.backbone.training
        self.backbone.eval()
        with torch.no_grad():
            maps = self.backbone(torch.zeros(1, 3, self.config.height, self.config.width))
        self.backbone.train(was_training)
        return int(list(maps.values())[-1].shape[2])


def _outline(config: NetworkConfig) -> ReIDModel | None:
    """The network without memory for its weights; None where a backbone of timm cannot be built so."""
    try:
        with torch.device("meta"):
            return ReIDModel(config)
    except (NotImplementedError, RuntimeError):
        if config.backbone.startswith("timm:"):
            return None
        raise


@torch.no_grad()
def _outputs(model: ReIDModel) -> dict[str, Tensor]:
    """What a network gives for a crop of noise, by name."""
    size = (1, 3, model.config.height, model.config.width)
    features = model.features(torch.rand(size, generator=torch.Generator().manual_seed(0)))
    outputs = {"embeddings": unit_rows(features.f_i_nd), "features": features.f_t_nd}
    if features.local_nhd is not None:
        outputs["stripes"] = features.local_nhd
    return outputs if model.head is None else {**outputs, "logits": model.logits(features)}
