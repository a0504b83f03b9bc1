"""Names that a user chooses by, in options and in files.

This module imports nothing, so that the command line has them at once for `--help`.
"""

STAGES = ("pretrain", "gan")  # of a training, in their order
ON_NAN = ("stop", "rollback")  # what a training does when a number is no longer finite
FAMILIES = ("torchvision", "caffe")  # of VGG's weights, for a file that does not say which
MODELS = ("small", "tiny")  # whose generators are in the package, the best first
