"""The networks: the generator G, the discriminator D, VGG and ST-LPIPS."""
