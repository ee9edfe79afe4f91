"""Structured pruning: which channels belong together, and cutting them out of a stock model.

In come weights and settings. ``job`` loads a ``network``, which owns the model, its channel ``graph``, images and
scores; ``planning`` chooses its widths; it is cut, recovered and measured. Out comes the same model, of the same stock
classes, with fewer channels. ``sparse`` trains a network for it.
"""
