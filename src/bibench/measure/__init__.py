"""Measurements beside training: what a training step costs."""
