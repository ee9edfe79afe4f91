"""Trains ReID networks: in come a configuration and a set, out come ``weights/best.pt``, ``results.csv`` and curves."""
