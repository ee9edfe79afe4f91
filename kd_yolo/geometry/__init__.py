"""Geometry without a network: boxes, who is whose parent, schedules. Nothing here knows a model."""
