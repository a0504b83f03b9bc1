"""The generator G, the discriminator D, and their weights in files."""
