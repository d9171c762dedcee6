"""WSN: weights and the choice of weights trained together; what a task uses is frozen for good."""
