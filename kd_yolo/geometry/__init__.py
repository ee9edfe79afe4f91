"""Geometry without a network: boxes and schedules. Numbers in, numbers out; nothing here knows a model."""
