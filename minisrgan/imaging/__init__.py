"""Photos: reading and writing them, resizing, cutting crops, comparing. It needs NumPy and Pillow only."""
