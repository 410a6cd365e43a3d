"""TensorFlow Lite files with the 1-bit operators of Larq Compute Engine: written and read without TensorFlow."""
