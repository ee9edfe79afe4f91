"""Draws street scenes with numpy and OpenCV.

In come a seed, a camera and the numbers of the people who may appear; out come a picture and the truth about everything
in it. The path, top to bottom: ``kd_yolo.base.rng`` (one random stream a thing), ``fills`` and ``raster`` (paint, shapes to pixels),
``camera``, ``sketch`` and ``solids`` (metres to shapes), ``identity`` and ``pose`` (people), ``draw_*`` (a file a kind
of thing) and ``clutter_*`` (what only looks like one), ``actors``, ``facade`` and ``backdrop`` (the empty street),
``light``, ``plan`` and ``scene`` (who stands where), ``render``.
"""
