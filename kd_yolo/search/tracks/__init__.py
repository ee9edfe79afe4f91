"""Follows people through videos, links their tracks from camera to camera, and scores both."""
