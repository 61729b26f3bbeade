"""Pictures: JPEG, PNG, WebP, GIF, BMP and TIFF."""
