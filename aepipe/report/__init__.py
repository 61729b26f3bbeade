"""Results for people: pictures (Pillow) and plain-text tables."""
