"""Frozen networks of somebody else: their graphs, their folders, and their features."""
