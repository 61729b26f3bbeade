"""Kinds of words, one file for each."""
