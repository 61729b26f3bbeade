"""A release: open, query, filter, compare, verify, promote and collect it."""
