"""A super-resolution GAN from scratch: engine, kernels, models, losses and training."""

__version__ = "0.1.0"
