"""Structured pruning: which channels belong together, and cutting them out of a stock model.

In come weights and settings. A ``job.Pruning`` loads a ``network.Network``, which owns the model, its channel ``graph``,
the images and the scores; ``planning`` chooses the widths, and the network is cut, recovered and measured. Out comes the
same model, of the same stock classes, with fewer channels. ``sparse`` trains a network for it.
"""
