"""Pictures: JPEG, PNG, TIFF, HEIC and other formats, and those in files of cameras."""
