"""Losses of ReID networks: a pure function each, and a thin module where it has parameters or weights.

In come features, logits and maps of a batch, with the index of each row's identity; out comes one scalar, in float32 at
least, also under autocast. Supervised: ``id``, ``triplet``, ``center``, ``circle``, ``local_triplet``. Distillation,
with a gradient for the student only: ``logit_kd``, ``overhaul``, ``relation``, ``self_kd``. A tensor's name ends in its
shape: n images (m of them as anchors), k identities, d features, c channels, h and w of a map, h stripes in ``nhd``.
"""
