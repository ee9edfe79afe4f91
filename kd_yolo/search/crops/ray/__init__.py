"""The engine that spreads the work over a Ray cluster."""
