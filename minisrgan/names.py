"""Names that users choose from, in options and in files.

This module imports nothing, so `--help` is quick.
"""

STAGES = ("pretrain", "gan")  # a training's stages, in order
ON_NAN = ("stop", "rollback")  # what a training does when a number is no longer finite
FAMILIES = ("torchvision", "caffe")  # families of VGG weights, to name for a file that does not say
MODELS = ("small", "tiny")  # the models whose generators are in the package, the best first
