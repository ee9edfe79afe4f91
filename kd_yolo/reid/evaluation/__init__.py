"""From embeddings to ranking metrics: how well queries find their own identity in a gallery.

In come embeddings (N,D), or distances (Nq,Ng), with identities and cameras; out come CMC, mAP and mINP, re-ranked or
stripe-aligned distances, and images of the ranking: strips, curves, histograms. Nothing here knows a network, and no
array of Nq x Ng x 8 bytes is made.
"""
