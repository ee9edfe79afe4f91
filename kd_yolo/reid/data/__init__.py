"""Crops of people from folders: read, checked, split, drawn in batches.

In comes a folder in the layout of Market-1501, DukeMTMC, MSMT17, or of plain identity folders; out come samples (path,
identity, camera) for train, query and gallery with notes on what is odd about them, batches of P identities x K images,
and crops (3,H,W), RGB 0-1. Data are read, never fetched.
"""
