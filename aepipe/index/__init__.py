"""Exact and approximate Hamming search, with FAISS; start at :mod:`aepipe.index.hamming`."""
