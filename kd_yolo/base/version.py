"""The version of the package, also that of the wheel."""

__version__ = "0.1.0"
