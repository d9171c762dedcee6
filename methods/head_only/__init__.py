"""A head on frozen features: the lower bound of every method that starts from the same backbone."""
