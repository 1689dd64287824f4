"""The search: selection, variation, surrogate, local search and the methods they are compared with.

Every function maps arrays to arrays. Decision matrices are int32 ``(n, groups)``, objective matrices float64
``(n, objectives)`` and minimised. Nothing here knows of networks, devices or workflows, and nothing is kept
between two calls: what a generation needs to know of its past stands in the archive and the population.
"""
