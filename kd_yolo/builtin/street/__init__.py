"""Draws street scenes with numpy and OpenCV.

In come a seed, a camera and the numbers of the people who may appear; out come an image and the truth about everything
in it. The path, top to bottom: ``kd_yolo.base.rng`` (one random stream for each thing), ``fills`` and ``raster``
(paint, shapes to pixels), ``camera``, ``sketch`` and ``solids`` (metres to shapes), ``identity`` and ``pose`` (people),
``draw`` (one file for each kind of thing), ``actors``, ``facade`` and ``backdrop`` (the empty street), ``light``,
``plan`` and ``scene`` (who stands where), ``render``.
"""
