"""Other kinds of compression, to compare binarization with (Table 21): one file each, found by their decorator.

Quantizers of 2 to 16 bits are operators with `comparator = True`; pruning methods are compressors
(`bibench.comparators.compressor`). docs/compression.md explains how they are trained, counted and reported.
"""
