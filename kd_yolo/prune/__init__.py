"""Structured pruning: which channels belong together, and cutting them out of a stock model.

In come a YOLO task model and, for each group of channels, which of them stay. Out comes the same model, of the same
stock classes, with fewer channels.
"""
