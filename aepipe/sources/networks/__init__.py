"""Frozen networks of somebody else: their graphs, what their folders say of them, and the features that they give."""
