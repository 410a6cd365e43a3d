"""What measures on a device: copied there as it is, and run there as ``python3 -m bundle job.json``.

It needs Python 3.9, NumPy and, for ONNX models, ONNX Runtime, and nothing of the rest of BiBench: modules in
here import each other relatively, and libraries inside functions. This machine runs the same copy, so that
a number from here and one from a small board were made by the same lines.
"""
