"""The compiled kernels of `bibench._core`, and when they apply.

They serve plain float32 tensors on the CPU, in eager mode. Whatever they do not serve (CUDA, other dtypes,
``torch.compile``, export, ``torch.func``, a module that was not built) runs on PyTorch operations with the
same results, bit for bit; so a function here takes what `serves` accepts and nothing else.

``BIBENCH_ISA`` names the instruction set to use (see ``bibench env``), or ``none`` for PyTorch alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined]

from bibench.kernels import absence
from bibench.kernels.spec import LayerSpec

_core: Any
try:  # after torch, whose OpenMP library the kernels then share
    from bibench import _core
except ImportError:
    _core = None


class _Run:
    """The functions of `_core`, with tensors handed over as capsules: asking them for `__dlpack__` takes four times as
    long, which small layers feel.
    """

    def __getattr__(self, name: str) -> Any:
        function = getattr(_core, name)

        def run(*arguments: Any) -> Any:
            return function(*[to_dlpack(a) if type(a) in _PLAIN else a for a in arguments])

        setattr(self, name, run)
        return run


_PLAIN = (Tensor, nn.Parameter)
_run = _Run()
NONE = "none"
_enabled = os.environ.get("BIBENCH_ISA") != NONE


def isa() -> str:
    """The kernels in use: ``avx512``, ``avx2``, ``neon``, ``portable``, or ``none``."""
    return _core.isa() if _core is not None and _enabled else NONE


def available() -> list[str]:
    """What this processor can run, best first; empty when the module was not built."""
    return [] if _core is None else list(_core.available())


@contextmanager
def using(name: str) -> Iterator[None]:
    """Use the kernels called `name` (or ``none``) inside the block; for tests and comparisons, not thread-safe."""
    global _enabled
    enabled, before = _enabled, isa()
    _enabled = name != NONE
    if _enabled:
        if _core is None:
            raise ValueError(f"no kernels {name!r}: the compiled core is not there. Why: {absence.reason()}")
        _core.use(name)
    try:
        yield
    finally:
        _enabled = enabled
        if _core is not None and before != NONE:
            _core.use(before)


def serves(*tensors: Tensor) -> bool:
    """Whether the kernels can take these tensors, here and now."""
    if (
        _core is None
        or not _enabled
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined]
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
    ):
        return False
    for t in tensors:  # a loop, because every layer comes here several times
        if not (type(t) in _PLAIN and t.dtype is torch.float32 and t.is_cpu and t.layout is torch.strided):
            return False
    return True


def call(function: str, *arguments: Any) -> None:
    """A function of the compiled module, which checks its arguments; it gets torch's number of threads as the last."""
    plain = [a.detach() if isinstance(a, Tensor) else a for a in arguments]
    getattr(_run, function)(*plain, torch.get_num_threads())


def looks_up() -> bool:
    """Whether the kernels in use have table lookups that are faster than multiply-adds (AVX-512)."""
    return _core is not None and _enabled and bool(_core.lookup_pays())


def same_memory(*tensors: Tensor) -> bool:
    """Whether these tensors have one shape and one dense order in memory, so that elements correspond."""
    first, *others = tensors
    if others:
        shape, strides = first.shape, first.stride()
        for t in others:
            if t.shape != shape or t.stride() != strides:
                return False
    return first.is_contiguous() or (first.dim() == 4 and first.is_contiguous(memory_format=torch.channels_last))


def sign(x: Tensor) -> Tensor:
    """±1 of a dense tensor (see `same_memory`)."""
    return sign_within(x, 0.0)[0]


def sign_within(x: Tensor, limit: float) -> tuple[Tensor, bool]:
    """±1 of a dense tensor, and whether all its magnitudes are at most `limit`."""
    out = torch.empty_like(x)
    return out, _run.sign(x, out, limit, torch.get_num_threads())


def sign_sine(x: Tensor, amount: float) -> Tensor:
    """±1 of a dense tensor, plus amount · sin(x)."""
    out = torch.empty_like(x)
    _run.sign_sine(x, amount, out, torch.get_num_threads())
    return out


def sign_scaled(x: Tensor, scale: Tensor, limit: float) -> tuple[Tensor, bool]:
    """±scale by the sign of contiguous rows x (R, N), scale (R,), and what `sign_within` tells."""
    out = torch.empty_like(x)
    return out, _run.sign_scaled(x, scale.contiguous(), out, limit, torch.get_num_threads())


def gradient(kernel: str, grad: Tensor, x: Tensor, out: Tensor, *parameters: Any) -> Tensor:
    """``out = grad · surrogate'(x)`` by the named kernel; `out` may be `grad`."""
    getattr(_run, kernel)(grad, x, out, *parameters, torch.get_num_threads())
    return out


def convolve(x: Tensor, weight: Tensor, scale: Tensor | None, spec: LayerSpec, centres: Tensor | None = None) -> Tensor:
    """scale · (sign(x) ⊛ sign(weight - centres)) with the layer's geometry; shapes as the layer's, the others (C_o,).

    Padding must be constant (``spec.padding_mode == "zeros"``); it holds ``spec.pad_value`` after the sign.
    """
    scale, centres = (None if t is None else t.contiguous() for t in (scale, centres))
    axes = spec.spatial_axes
    if axes == 2:
        channels_last = _prefers_channels_last(x) or _prefers_channels_last(weight)
        out = _output(x, weight, spec, channels_last)
        _call(_ordered(x), _ordered(weight), out, scale, centres, spec, spec.stride, spec.dilation, spec.padding)
        return out
    if axes == 1:
        out = _output(x, weight, spec, channels_last=False)
        _call(
            x.contiguous().unsqueeze(2),
            weight.contiguous().unsqueeze(2),
            out.unsqueeze(2),
            scale,
            centres,
            spec,
            (1, *spec.stride),
            (1, *spec.dilation),
            (*spec.padding, 0, 0),
        )
        return out
    rows = x.contiguous().view(-1, spec.in_channels)
    out = x.new_empty(*x.shape[:-1], spec.out_channels)
    x, weight, matrix = (t[:, :, None, None] for t in (rows, weight.contiguous(), out.view(-1, spec.out_channels)))
    _call(x, weight, matrix, scale, centres, spec, (1, 1), (1, 1), (0, 0, 0, 0))
    return out


def convolve_finished(
    x: Tensor,
    weight: Tensor,
    spec: LayerSpec,
    *,
    shift: Tensor | None = None,
    scale: Tensor | None = None,
    gamma: Tensor | None = None,
    pixels: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """`convolve` in two dimensions of sign(x + shift), times gamma or pixels in the same pass; see `finishes`.

    Shapes: shift (C_i,), scale (C_o,), gamma (C_o, H_o, W_o), pixels (N, H_o, W_o). Of the product that gamma
    multiplies, the integers are returned too.
    """
    out = _output(x, weight, spec, _prefers_channels_last(x) or _prefers_channels_last(weight))
    kept = None
    if gamma is not None:
        gamma = gamma.detach().expand(1, *out.shape[1:])
        gamma = torch.empty_like(out[:1]).copy_(gamma)
        kept = torch.empty_like(out, dtype=torch.int16)
    left, right, top, bottom = spec.padding
    geometry = (spec.stride, (top, bottom, left, right), spec.dilation, spec.groups, int(spec.pad_value))
    shift = None if shift is None else shift.detach().contiguous()
    scale, pixels = (None if t is None else t.detach().contiguous() for t in (scale, pixels))
    threads = torch.get_num_threads()
    _run.convolve(_ordered(x), _ordered(weight), out, *geometry, shift, scale, None, threads, gamma, pixels, kept)
    return out, kept


def normalize(x: Tensor, eps: float, deviation: float, centre: bool) -> tuple[Tensor, Tensor, float]:
    """Rows of x (R, N) scaled, their statistics (R, 4): mean, factor, variance + eps, sum of magnitudes; its sum."""
    out, stats = torch.empty_like(x), x.new_empty(len(x), 4)
    total = _run.normalize(x, out, stats, eps, deviation, centre, torch.get_num_threads())
    return out, stats, total


def describe(x: Tensor, eps: float, deviation: float, centre: bool, clip: float) -> tuple[Tensor, float]:
    """The statistics of `normalize` alone, and the mean magnitude of what it makes, times `clip`."""
    stats = x.new_empty(len(x), 4)
    return stats, _run.describe(x, stats, eps, deviation, centre, clip, torch.get_num_threads())


def sign_centred(x: Tensor, stats: Tensor, scale: Tensor) -> Tensor:
    """±scale by the sign of rows x (R, N) minus their mean, scale (R,)."""
    out = torch.empty_like(x)
    _run.sign_centred(x, stats, scale.contiguous(), out, torch.get_num_threads())
    return out


def rectify(
    grad: Tensor, x: Tensor, stats: Tensor, scale: Tensor, eps: float, deviation: float, centre: bool, limit: float
) -> Tensor:
    """Gradients of `sign_centred`: that of the scale (R,), and, in place of `grad`, that of x through `normalize`.

    It is passed where the result of that is smaller than `limit`.
    """
    total = x.new_empty(len(x))
    how = (eps, deviation, centre, limit, torch.get_num_threads())
    _run.rectify(grad, x, stats, scale.contiguous(), total, *how)
    return total


def normalize_backward(
    grad: Tensor, x: Tensor, stats: Tensor, eps: float, deviation: float, centre: bool, limit: float
) -> Tensor:
    """Gradient of `normalize`, passed where the result is smaller than `limit`."""
    out = torch.empty_like(x)
    threads = torch.get_num_threads()
    _run.normalize_backward(grad, x, stats, out, eps, deviation, centre, limit, threads)
    return out


def approx_sign_rows(grad: Tensor, x: Tensor, out: Tensor, eps: float, deviation: float, centre: bool) -> Tensor:
    """Gradient with respect to rows x (R, N) through their scaling, the sign and Bi-Real's polynomial, in `out`.

    That may be `grad`.
    """
    _run.approx_sign_rows(grad, x, out, eps, deviation, centre, torch.get_num_threads())
    return out


def filter_scale_gradients(grad: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    """Sum of grad · sign(x) over each row of x (R, N), shape (R,); `grad` is multiplied by the rows' scale in place."""
    total = x.new_empty(len(x))
    _run.filter_scale_gradients(grad, x, scale.contiguous(), total, torch.get_num_threads())
    return total


def rescale_backward(grad: Tensor, x: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of ``x · gamma``, x (R, N) and gamma (1, N), with respect to both."""
    out, total = torch.empty_like(x), torch.empty_like(gamma)
    _run.rescale_backward(grad, x, gamma, out, total, torch.get_num_threads())
    return out, total


def rescale_kept_backward(grad: Tensor, x: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """`rescale_backward` of integers x."""
    out, total = torch.empty_like(grad), torch.empty_like(gamma)
    _run.rescale_kept_backward(grad, x, gamma, out, total, torch.get_num_threads())
    return out, total


def sign_shifted(x: Tensor, shift: Tensor) -> Tensor:
    """±1 of x + shift, x (R, N) and shift (1, N)."""
    out = torch.empty_like(x)
    _run.sign_shifted(x, shift, out, torch.get_num_threads())
    return out


def approx_sign_shifted(grad: Tensor, x: Tensor, shift: Tensor) -> Tensor:
    """Bi-Real's gradient of sign(x + shift) with respect to x, in place of `grad` (R, N), and the shift's (1, N)."""
    total = torch.empty_like(shift)
    _run.approx_sign_shifted(grad, x, shift, grad, total, torch.get_num_threads())
    return total


def sign_shifted_rows(x: Tensor, shift: Tensor) -> Tensor:
    """±1 of x + shift, x (R, N) and shift (N,): `sign_shifted` for short rows, pixels by channels."""
    out = torch.empty_like(x)
    _run.sign_shifted_rows(x, shift, out, torch.get_num_threads())
    return out


def approx_sign_shifted_rows(grad: Tensor, x: Tensor, shift: Tensor) -> Tensor:
    """`approx_sign_shifted` for such rows."""
    total = torch.empty(1, x.shape[1])
    _run.approx_sign_shifted_rows(grad, x, shift, grad, total, torch.get_num_threads())
    return total


def mean_magnitudes(x: Tensor) -> Tensor:
    """Mean of |x| over each row of x (R, N), shape (R,)."""
    out = x.new_empty(len(x))
    _run.mean_magnitudes(x, out, torch.get_num_threads())
    return out


def box_means(x: Tensor, spec: LayerSpec) -> Tensor:
    """Mean of |x| over channels and window for each output of a convolution: (B, C_i, H, W) → (B, 1, H_o, W_o).

    x must be dense (see `same_memory`), the layer without groups and its padding constant; that counts as zeros.
    """
    out = x.new_empty(len(x), *spec.output_sizes(tuple(x.shape[2:])))
    left, right, top, bottom = spec.padding
    geometry = (spec.kernel_size, spec.stride, (top, bottom, left, right), spec.dilation)
    _run.box_means(x, out, *geometry, torch.get_num_threads())
    return out[:, None]


def multiply_rows(x: Tensor, factors: Tensor) -> Tensor:
    """Rows of x (R, N), each times its factor (R,)."""
    out = torch.empty_like(x)
    _run.multiply_rows(x, factors, out, torch.get_num_threads())
    return out


def scores(q: Tensor, k: Tensor) -> Tensor:
    """sign(q) @ sign(k)ᵀ over the last two axes: (B, H, M, D), (B, H, N, D) → (B, H, M, N)."""
    q, k = (t.detach() if t.stride(-1) == 1 else t.detach().contiguous() for t in (q, k))
    out = q.new_empty(*q.shape[:-1], k.shape[-2])
    _run.matmul(q, k, out, False, torch.get_num_threads())
    return out


def context(mask: Tensor, v: Tensor) -> Tensor:
    """mask @ sign(v) over the last two axes, mask of 0 and 1: (B, H, M, N), (B, H, N, D) → (B, H, M, D)."""
    mask, v = (t.detach() if t.stride(-1) == 1 else t.detach().contiguous() for t in (mask, v))
    out = mask.new_empty(*mask.shape[:-1], v.shape[-1])
    _run.matmul(mask, v, out, True, torch.get_num_threads())
    return out


def _call(
    x: Tensor,
    weight: Tensor,
    out: Tensor,
    scale: Tensor | None,
    centres: Tensor | None,
    spec: LayerSpec,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: tuple[int, ...],
) -> None:
    left, right, top, bottom = padding or (0, 0, 0, 0)
    geometry = (stride, (top, bottom, left, right), dilation, spec.groups, int(spec.pad_value))
    rest = (None, scale, None, torch.get_num_threads(), None, None, None, centres)
    _run.convolve(x, weight, out, *geometry, *rest)


def _output(x: Tensor, weight: Tensor, spec: LayerSpec, channels_last: bool) -> Tensor:
    sizes = spec.output_sizes(tuple(x.shape[2:]))
    if min(sizes) < 1:
        raise ValueError(
            f"layer {spec.name!r}: an input of {tuple(x.shape[2:])} with padding is smaller than the filter "
            f"{tuple(weight.shape[2:])} (dilation {spec.dilation})"
        )
    memory = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(x.shape[0], spec.out_channels, *sizes, dtype=x.dtype, memory_format=memory)


def _ordered(x: Tensor) -> Tensor:
    dense = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
    return x if dense else x.contiguous()


def _prefers_channels_last(x: Tensor) -> bool:
    # PyTorch's rule for the layout of a convolution's output, so that what follows runs as it would after its own.
    last = x.is_contiguous(memory_format=torch.channels_last)
    if last != x.is_contiguous() and 1 not in x.shape:  # not both, and no stride without a meaning
        return last
    smallest = 0
    for axis in (1, 3, 2, 0):
        size, stride = x.shape[axis], x.stride(axis)
        if size == 0 or stride < smallest or (axis == 0 and smallest == x.stride(1)):
            return False
        smallest = stride * size if size > 1 else stride
    return True
