"""What a forward pass does: what the model is called with, the operations seen, and what they cost."""
