"""Videos: frames of MP4, Matroska, WebM, AVI and QuickTime files."""
