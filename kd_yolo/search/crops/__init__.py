"""Cuts the people out of images, videos and streams.

A folder of crops with its index, resumable, on one machine or many.
"""
