"""Binarized modules, and how any model gets them: layers, conversion, its proof, the audit."""
