"""ImpressLearn: few masks on a random backbone, of which later tasks learn linear combinations."""
