"""Generators as files for other programs: ONNX, ncnn, PyTorch. Nothing of theirs is needed to write them."""
