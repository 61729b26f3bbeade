"""The store: immutable artifacts, the registry of releases in service, rows and segments."""
