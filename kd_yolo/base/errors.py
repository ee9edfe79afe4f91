"""What a user can be told, each with the exit code that the commands end with.

Exit codes: 0 ok, 1 the run failed, 2 usage or configuration, 3 input missing or invalid (weights, data, offline),
4 a quality gate was not met, 5 an optional dependency is missing, 130 interrupted.

A message says what is wrong, the value, what was expected and what to type next.
"""

from __future__ import annotations

EXIT_INTERRUPTED = 130


class KDYoloError(Exception):
    """The run failed for a reason that a user can act on."""

    exit_code = 1


class ConfigError(KDYoloError):
    """A flag, a key or a value that is not understood, or values that do not fit together."""

    exit_code = 2


class InputError(KDYoloError):
    """Weights or data that are missing, unreadable or unfit for the job."""

    exit_code = 3


class GateError(KDYoloError):
    """A quality gate that the user set was not met."""

    exit_code = 4


class MissingDependencyError(KDYoloError):
    """An optional package is not installed; the message holds the install line."""

    exit_code = 5
