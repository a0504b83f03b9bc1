"""The generator G, the discriminator D, VGG, and their weights in files."""
