"""Reading and writing files of weights, and the weights that ship with the package."""
