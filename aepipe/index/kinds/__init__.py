"""Kinds of index, one file each; the name of the file is the name of the kind in a recipe."""
