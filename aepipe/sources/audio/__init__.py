"""Recordings: WAV and FLAC files."""
