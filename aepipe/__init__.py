"""Semantic hashing with stacked autoencoders: short binary codes for a collection, searched by Hamming distance."""

__version__ = "0.1.0"
