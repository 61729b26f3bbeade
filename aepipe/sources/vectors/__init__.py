"""Vectors that another model made."""
