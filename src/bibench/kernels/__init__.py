"""How products of signs and their gradients are computed, compiled or in PyTorch, the same numbers."""
