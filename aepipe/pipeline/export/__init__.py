"""Exports of a release: Parquet, one file, or a table in a system that others run."""
