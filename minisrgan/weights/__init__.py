"""Weights in files, read and written; and the files that ship with the package."""
