"""The two networks of a search, in batches: the person detector and the embedder."""
