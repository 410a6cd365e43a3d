"""The compiled module (csrc/python/). Arrays are float32 on the CPU; `bibench.kernels.native` is its only user."""

from torch import Tensor

def isa() -> str: ...
def available() -> list[str]: ...
def use(name: str) -> None: ...
def convolve(
    x: Tensor,
    weight: Tensor,
    out: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    pad_value: int,
    shift: Tensor | None,
    scale: Tensor | None,
    bias: Tensor | None,
    threads: int,
    gamma: Tensor | None = None,
    pixels: Tensor | None = None,
    kept: Tensor | None = None,
    centres: Tensor | None = None,
) -> None: ...
def lookup_pays() -> bool: ...
def lookup_input_gradient(
    grad: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    out: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    threads: int,
) -> None: ...
def lookup_weight_gradient(
    grad: Tensor,
    x: Tensor,
    shift: Tensor | None,
    out: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    pad_value: int,
    threads: int,
) -> None: ...
def matmul(a: Tensor, b: Tensor, out: Tensor, mask: bool, threads: int) -> None: ...
def sign(x: Tensor, out: Tensor, limit: float, threads: int) -> bool: ...
def sign_sine(x: Tensor, amount: float, out: Tensor, threads: int) -> None: ...
def sign_scaled(x: Tensor, scale: Tensor, out: Tensor, limit: float, threads: int) -> bool: ...
def ste(grad: Tensor, x: Tensor, out: Tensor, clip: float, threads: int) -> None: ...
def approx_sign(grad: Tensor, x: Tensor, out: Tensor, threads: int) -> None: ...
def even_polynomial(
    grad: Tensor, x: Tensor, out: Tensor, coefficients: list[float], window: float, threads: int
) -> None: ...
def even_polynomial_cosine(
    grad: Tensor, x: Tensor, out: Tensor, coefficients: list[float], window: float, amount: float, threads: int
) -> None: ...
def filter_scale_gradients(grad: Tensor, x: Tensor, scale: Tensor, total: Tensor, threads: int) -> None: ...
def box_means(
    x: Tensor,
    out: Tensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    threads: int,
) -> None: ...
def describe(
    x: Tensor, stats: Tensor, eps: float, deviation: float, centre: bool, clip: float, threads: int
) -> float: ...
def sign_centred(x: Tensor, stats: Tensor, scale: Tensor, out: Tensor, threads: int) -> None: ...
def rectify(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    scale: Tensor,
    total: Tensor,
    eps: float,
    deviation: float,
    centre: bool,
    limit: float,
    threads: int,
) -> None: ...
def normalize(
    x: Tensor, out: Tensor, stats: Tensor, eps: float, deviation: float, centre: bool, threads: int
) -> float: ...
def normalize_backward(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    out: Tensor,
    eps: float,
    deviation: float,
    centre: bool,
    limit: float,
    threads: int,
) -> None: ...
def rescale_backward(grad: Tensor, x: Tensor, gamma: Tensor, out: Tensor, total: Tensor, threads: int) -> None: ...
def rescale_kept_backward(grad: Tensor, x: Tensor, gamma: Tensor, out: Tensor, total: Tensor, threads: int) -> None: ...
def approx_sign_shifted(grad: Tensor, x: Tensor, shift: Tensor, out: Tensor, total: Tensor, threads: int) -> None: ...
def sign_shifted(x: Tensor, shift: Tensor, out: Tensor, threads: int) -> None: ...
def approx_sign_rows(
    grad: Tensor, x: Tensor, out: Tensor, eps: float, deviation: float, centre: bool, threads: int
) -> None: ...
def mean_magnitudes(x: Tensor, out: Tensor, threads: int) -> None: ...
def sign_shifted_rows(x: Tensor, shift: Tensor, out: Tensor, threads: int) -> None: ...
def approx_sign_shifted_rows(
    grad: Tensor, x: Tensor, shift: Tensor, out: Tensor, total: Tensor, threads: int
) -> None: ...
def multiply_rows(x: Tensor, factors: Tensor, out: Tensor, threads: int) -> None: ...
def probe(rounds: int) -> float: ...
def count_only(pixels: int, channels: int, words: int, repeats: int, planes: bool = False) -> None: ...
