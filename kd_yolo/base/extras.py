"""Optional packages: which extra of this package has which, and the one way to import them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import MissingDependencyError

# What each extra adds, by the name that is imported, to what it is called in a package registry. Equal to
# pyproject.toml, which a test holds.
EXTRAS: dict[str, dict[str, str]] = {
    "reid": {"numba": "numba", "scipy": "scipy", "timm": "timm", "lap": "lap"},
    "openvino": {"openvino": "openvino"},
    "mlflow": {"mlflow": "mlflow"},
    "search": {"faiss": "faiss-cpu", "supervision": "supervision", "polars": "polars"},
    "ui": {"gradio": "gradio"},
    "ray": {"ray": "ray"},
    "qat": {"modelopt": "nvidia-modelopt", "huggingface_hub": "huggingface_hub"},
}
INCLUDES: dict[str, str] = {"search": "reid", "ui": "search", "ray": "search"}  # an extra that has another one in it
# In no extra of ours: asked for by one checkpoint or one export format.
OTHERS: dict[str, str] = {
    "ai_edge_litert": "ai-edge-litert",
    "coreai_torch": "coreai-torch",
    "dx_com": "dx_com",
    "litert_torch": "litert-torch",
    "MNN": "MNN",
    "paddle": "paddlepaddle",
    "quark": "amd-quark",
    "rknn": "rknn-toolkit2",
}


def install_line(module: str) -> str:
    """What to type to get a module: ``pip install 'kd-yolo[reid]'`` for numba.

    Args:
        module: as it is imported; parts after the first dot do not count.
    """
    name = module.partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if name in modules), None)
    return f"pip install '{OTHERS.get(name, name) if extra is None else f'kd-yolo[{extra}]'}'"


def is_installed(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the package of a part is missing; a module that was taken out by hand
        return False


def installed_file(package: str, name: str) -> Path | None:
    """A file of an installed package, which is not imported; None where there is no such file.

    Args:
        package: as it is imported.
        name: of the file, from the folder of the package.
    """
    found = importlib.util.find_spec(package) if is_installed(package) else None
    file = None if found is None or found.origin is None else Path(found.origin).parent / name
    return file if file is not None and file.is_file() else None


def require(module: str, *, purpose: str = "this") -> Any:
    """Imports a module of an optional package.

    Args:
        module: what to import.
        purpose: what needs it, for the message.

    Raises:
        MissingDependencyError: it is not installed, or cannot be imported; says the install line.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        raise missing(module, error, purpose=purpose) from error


def check_installed(*modules: str, purpose: str = "this") -> None:
    """Checks that modules can be found, before any work; nothing is imported.

    Args:
        modules: as they are imported.
        purpose: what needs them, for the message.

    Raises:
        MissingDependencyError: one is not installed; says the install line.
    """
    for module in modules:
        if not is_installed(module):
            raise missing(module, purpose=purpose)


def missing(module: str, error: Exception | None = None, *, purpose: str = "this") -> MissingDependencyError:
    """The error for a module that is not installed, or does not import though it is.

    Args:
        module: as it is imported.
        error: what importing it raised.
        purpose: what needs it, for the message.
    """
    name = module.partition(".")[0]
    extra_modules = {module: package for modules in EXTRAS.values() for module, package in modules.items()}
    package = extra_modules.get(name, OTHERS.get(name, name))
    broken = error is not None and is_installed(name)
    what = f"which is installed but cannot be imported ({str(error)[:200]})" if broken else "which is not installed"
    return MissingDependencyError(
        f"{purpose} needs {package}, {what}: {install_line(module)}, then run the command again."
    )


def missing_of(extra: str) -> list[str]:
    """The packages of an extra that are not installed, those of the extras in it too."""
    inner = [] if extra not in INCLUDES else missing_of(INCLUDES[extra])
    return inner + [package for module, package in EXTRAS[extra].items() if not is_installed(module)]
