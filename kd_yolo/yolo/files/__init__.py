"""Checkpoints: opened by an allow-list of our own, looked through, and written whole."""
