"""How a cell is trained: optimizer, schedule, initialisation, distillation."""
