"""Photos: in and out of files, resized, cut into crops, compared. NumPy and Pillow alone."""
