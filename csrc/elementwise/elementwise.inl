// Elementwise kernels, compiled once for each instruction set and vectorized by the compiler.
//
// The arithmetic is that of the PyTorch expressions they replace, operation by operation, so results are
// bit-identical to the pure path: compile with -ffp-contract=off.
//
// Included inside an anonymous namespace of each translation unit.

#include "signs.inl"
#include "surrogates.inl"
#include "waves.inl"
#include "bytes.inl"
#include "finish.inl"
#include "fold.inl"
#include "rows.inl"
#include "columns.inl"
#include "magnitudes.inl"
#include "factors.inl"
