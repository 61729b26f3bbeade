"""Films, as their frames."""
