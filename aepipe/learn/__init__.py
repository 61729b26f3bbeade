"""Autoencoders: networks, objectives, training, generation. The only room with torch; it knows no store."""
