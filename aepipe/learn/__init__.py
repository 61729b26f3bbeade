"""Autoencoders and their training. The only room with torch; it knows no store."""
