"""The compiled module (csrc/module.cpp). Arrays are float32 on the CPU; `bibench.native` is its only user."""

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
) -> None: ...
def matmul(a: Tensor, b: Tensor, out: Tensor, mask: bool, threads: int) -> None: ...
def sign(x: Tensor, out: Tensor, threads: int) -> None: ...
def ste(grad: Tensor, x: Tensor, out: Tensor, clip: float, threads: int) -> None: ...
def approx_sign(grad: Tensor, x: Tensor, out: Tensor, threads: int) -> None: ...
def even_polynomial(
    grad: Tensor, x: Tensor, out: Tensor, coefficients: list[float], window: float, threads: int
) -> None: ...
def normalize(
    x: Tensor, out: Tensor, stats: Tensor, eps: float, deviation: float, centre: bool, threads: int
) -> None: ...
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
