"""Enlarging a photo of any size with a generator."""
