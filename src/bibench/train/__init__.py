"""Training one cell: the loop, its checkpoints, seeds and monitors."""
