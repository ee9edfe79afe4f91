"""The network that a run starts with: a new one, or that of a checkpoint with the settings that were given."""

from __future__ import annotations

from collections.abc import Sequence

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.model.backbones import full_name
from kd_yolo.reid.model.checkpoint import Checkpoint
from kd_yolo.reid.model.contents import Identity
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.model.settings import NetworkConfig, NetworkSettings
from kd_yolo.reid.model.widths import fit_widths
from kd_yolo.reid.settings import ReIDConfig

_KEPT = ("backbone", "embedding")  # weights of another one do not fit
_NEW = ("head.", "local.", "neck.pool.")  # parts that another setting adds or takes away


def network_of(settings: NetworkSettings, num_identities: int) -> NetworkConfig:
    """The description of a new network."""
    values = settings.model_dump(exclude={"pretrained"})
    return NetworkConfig(**values, num_identities=num_identities)


def settings_for(config: ReIDConfig, first: Checkpoint, source: str) -> ReIDConfig:
    """The settings of a run that starts from a checkpoint.

    Its network has what was given, by a recipe or by ``key=value`` (size, stride, pool, head, local branch), and
    otherwise what the checkpoint has.

    Args:
        config: with the network settings that were given among its ``model_fields_set``.
        first: the checkpoint.
        source: its name.

    Raises:
        ConfigError: a setting that its weights do not fit, or weights of another file.
    """
    given = {name: getattr(config.network, name) for name in config.network.model_fields_set}
    weights = given.pop("pretrained", "none")
    if weights not in ("none", "auto"):
        raise ConfigError(f"network.pretrained={weights} and --start {source}: both are first weights. Give one.")
    own = {name: getattr(first.config, name) for name in NetworkSettings.model_fields if name != "pretrained"}
    if "backbone" in given:
        given["backbone"] = full_name(given["backbone"])
    for name in _KEPT:
        if given.get(name, own[name]) != own[name]:
            raise ConfigError(
                f"network.{name}={given[name]}, but {source} has {name}={own[name]}: leave it out, leave --start out,"
                f" or set network.{name}={own[name]}."
            )
    network = NetworkSettings(**{**own, **given, "pretrained": "none"})
    return ReIDConfig.parse({**config.model_dump(), "network": network.model_dump()}, f"--start {source}")


def continue_from(
    first: Checkpoint, settings: NetworkSettings, identities: Sequence[Identity], source: str
) -> ReIDModel:
    """The network of a checkpoint, pruned or not, with a classifier for other identities where they differ.

    Args:
        first: the checkpoint.
        settings: of :func:`settings_for`.
        identities: of the data.
        source: the checkpoint's name.

    Raises:
        InputError: the checkpoint's weights are not those that it describes.
        ConfigError: its backbone does not take this size.
    """
    ReIDModel.from_checkpoint(first, source)
    model, state = ReIDModel(network_of(settings, len(identities))), dict(first.state_dict)
    same_head = list(first.identities) == list(identities) and first.config.head == settings.head
    if not same_head:
        state = {key: value for key, value in state.items() if not key.startswith("head.")}
    fit_widths(model, state)
    try:
        differs = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ConfigError(
            f"{source} has height={first.config.height} width={first.config.width}, and its backbone does not take"
            f" height={settings.height} width={settings.width}: leave them out."
        ) from error
    lost = [key for key in (*differs.missing_keys, *differs.unexpected_keys) if not key.startswith(_NEW)]
    if lost:
        raise InputError(f"the weights in {source} do not fit the network ({lost[0]}): leave --start out.")
    new = sorted({key.partition(".")[0] for key in differs.missing_keys})
    names = {"head": "the classifier", "local": "the local branch", "neck": "the pool's exponent"}
    said = "".join(f"; {names[part]} is new" for part in new)
    model.weights_note = f"{model.config.backbone}: weights of the checkpoint{said}."
    return model
