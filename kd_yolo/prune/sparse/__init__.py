"""Sparse training: a wanted share of the BatchNorm gammas becomes exactly zero, so that pruning finds what can go.

In come a detector and the share. Out comes ``weights/sparse.pt``, a plain network whose zero gammas sit on channels
that pruning can cut. ``penalty`` is the method, ``gammas`` says which gammas belong to one channel, ``rates`` how
far the learning rate still takes them, ``trainer`` puts that into ultralytics' loop.
"""
