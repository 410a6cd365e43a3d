"""daBNN: the form of ONNX in which its converter recognizes 1-bit convolutions, written and checked."""
