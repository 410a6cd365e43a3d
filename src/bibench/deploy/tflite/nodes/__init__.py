"""Translators of ONNX operators to TensorFlow Lite, found by listing this folder."""
