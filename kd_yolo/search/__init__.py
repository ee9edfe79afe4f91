"""Finds a person again: images and video in, crops, embeddings, a gallery, ranked matches and tracks out.

The path, top to bottom: ``records`` (what flows), ``sources`` (images one after the other), ``detector`` (boxes of
people), ``cut`` (boxes to crops), ``flow`` (decode, detect and embed side by side), ``crops`` (a folder of crops with
its index), ``embedder`` (crops to vectors), ``gallery`` and what is asked of it, ``tracks``, ``ray_engine`` and
``page``. Nothing here trains.
"""
