"""What is measured and tried around the training, and is not needed for it."""
