"""Exact and approximate Hamming search: the only room with FAISS. Start with :mod:`aepipe.index.hamming`."""
