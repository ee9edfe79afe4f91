"""Finds a person again: images and video in, crops, embeddings, a gallery, ranked matches and tracks out.

The rooms in the order of the path: ``frames`` (images and video, frame by frame), ``networks`` (boxes of people, crops
to vectors), ``crops`` (a folder of crops with its index), ``gallery`` and what is asked of it, ``tracks``, ``page``.
Nothing here trains.
"""
