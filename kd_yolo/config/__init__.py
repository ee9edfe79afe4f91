"""Configuration: pydantic models for everything in ``cfg/``, and the only reader of its YAML.

In come flags, keyword arguments and YAML recipes; out comes one validated object per command, whose dump is written
into the run folder. Unknown keys are errors with the nearest spelling, and all problems are reported at once.
"""
