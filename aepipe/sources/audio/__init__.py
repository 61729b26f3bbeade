"""Recordings: WAV, FLAC, MP3, Ogg, M4A and other files of sound."""
