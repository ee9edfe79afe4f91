"""The ``key=value`` arguments of ultralytics: names, values, and what fits together, checked before any work."""
