"""A gallery of crops on disk, and what is asked of it: indexing, queries, calibration, forgetting."""
