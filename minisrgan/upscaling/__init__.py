"""A photo of any size through the generator."""
