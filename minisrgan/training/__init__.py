"""Training: the steps, what they are configured by, and the loop and folder of a run."""
