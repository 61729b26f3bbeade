"""Documents: text that people wrote."""
