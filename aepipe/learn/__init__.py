"""Stacked autoencoders: the only room with torch. It knows neither the shelf nor the index.

Legend of shape suffixes: N rows, B rows of a batch, D features, H layer width, K bits.
"""
