"""Independent float64 reference of every operator, straight from the papers' formulas.

Shares no code with the package. The surrogate gradients come from autograd through their primitives:
sign(x) is written as F(x) + stop_gradient(sign(x) - F(x)) with F' the surrogate, for instance F = clamp
for the straight-through estimator. Scales multiply the *weights* here, as the authors' codes do.
"""

import math

import torch
import torch.nn.functional as F


def stop(x):
    return x.detach()


def hard_sign(x):
    return torch.where(x >= 0, torch.ones_like(x), -torch.ones_like(x))


def ste(x):
    f = torch.clamp(x, -1, 1)
    return f + stop(hard_sign(x) - f)


def identity(x):
    return x + stop(hard_sign(x) - x)


def approx(x):
    """Eq. 23: the piecewise quadratic."""
    f = torch.where(
        x < -1,
        -torch.ones_like(x),
        torch.where(x < 0, 2 * x + x**2, torch.where(x < 1, 2 * x - x**2, torch.ones_like(x))),
    )
    return f + stop(hard_sign(x) - f)


def fourier(x, n, omega=0.1):
    """Partial sums of the square wave, constant outside [-1, 1]."""
    inside = torch.where(x.abs() <= 1, x, stop(x))
    f = 4 / math.pi * sum(torch.sin((2 * i + 1) * omega * inside) / (2 * i + 1) for i in range(n + 1))
    return f + stop(hard_sign(x) - f)


def convolve(x, w, layer, groups=None):
    if isinstance(layer, torch.nn.Linear):
        return x @ w.T
    sides = layer._reversed_padding_repeated_twice
    mode = {"zeros": "constant"}.get(layer.padding_mode, layer.padding_mode)
    x = F.pad(x, sides, mode=mode)
    conv = F.conv2d if isinstance(layer, torch.nn.Conv2d) else F.conv1d
    return conv(x, w, None, layer.stride, 0, layer.dilation, layer.groups if groups is None else groups)


def fan(w):
    return tuple(range(1, w.dim()))


def alpha(w):
    return stop(w.abs().mean(fan(w), keepdim=True))


def scaled_weight(w, layer_scale=False, estimator=ste):
    """α·sign(w) in the forward pass, the estimator of w alone in the backward pass."""
    a = alpha(w).mean().expand_as(alpha(w)) if layer_scale else alpha(w)
    binary = estimator(w)
    return binary + stop(a * binary - binary)


def with_bias(y, layer):
    if layer.bias is None:
        return y
    return y + layer.bias.reshape(-1, *(1,) * (layer.weight.dim() - 2))


def channel_axis(layer):
    return -1 - (layer.weight.dim() - 2)


def bnn(x, layer, op):
    return with_bias(convolve(ste(x), ste(layer.weight), layer), layer)


def dorefa(x, layer, op):
    return with_bias(convolve(ste(x), scaled_weight(layer.weight), layer), layer)


def bireal(x, layer, op):
    return with_bias(convolve(approx(x), scaled_weight(layer.weight), layer), layer)


def reactnet(x, layer, op):
    return with_bias(convolve(approx(x + op["shift"]), scaled_weight(layer.weight), layer), layer)


def spatial_k(x, layer):
    """K: for each output position the mean of |x| over the channels (of the group) and the window."""
    if isinstance(layer, torch.nn.Linear):
        return x.abs().mean(-1, keepdim=True)
    g = layer.groups
    parts = []
    for part in x.abs().chunk(g, dim=1):
        a = part.mean(1, keepdim=True)
        window = torch.ones(1, 1, *layer.kernel_size, dtype=x.dtype) / math.prod(layer.kernel_size)
        parts.append(convolve(a, window, layer, groups=1))
    return torch.cat([p for p in parts for _ in range(layer.out_channels // g)], dim=1)


def xnor(x, layer, op):
    y = convolve(ste(x), scaled_weight(layer.weight), layer)
    return with_bias(y * stop(spatial_k(x, layer)), layer)


def xnorpp(x, layer, op):
    y = convolve(ste(x), ste(layer.weight), layer)
    spatial = layer.weight.dim() - 2
    y = y * op["alpha"].reshape(-1, *(1,) * spatial)
    if spatial == 2:
        y = y * op["axis_scales.0"][None, None, :, None] * op["axis_scales.1"][None, None, None, :]
    elif spatial == 1:
        y = y * op["axis_scales.0"][None, None, :]
    return with_bias(y, layer)


def recu(x, layer, op, tau):
    w = layer.weight
    n = w[0].numel()
    centred = w - w.mean(fan(w), keepdim=True)
    variance = (centred**2).sum(fan(w), keepdim=True) / max(n - 1, 1)
    scaled = centred * 2 * math.sqrt(2) / torch.sqrt(variance + 1e-5)
    q = stop(scaled.abs().mean()) * -math.log(2 - 2 * tau)
    inside = scaled.abs() < q
    clamped = torch.where(inside, scaled, stop(hard_sign(scaled) * q))
    axes = (-1,) if isinstance(layer, torch.nn.Linear) else tuple(range(1, x.dim()))
    count = math.prod(x.shape[i] for i in axes)
    mean = x.mean(axes, keepdim=True)
    x_hat = x / torch.sqrt(((x - mean) ** 2).sum(axes, keepdim=True) / (count - 1) + 1e-5)
    y = convolve(approx(x_hat), identity(clamped), layer)
    return with_bias(y * op["alpha"].reshape(-1, *(1,) * (w.dim() - 2)), layer)


def noise(rows, down, up):
    return torch.relu(rows @ down.T) @ up.T + 0.1 * torch.sin(rows)


def fda(x, layer, op, n, strength):
    w = layer.weight
    axis = channel_axis(layer)
    a = fourier(x, n)
    e = noise(x.movedim(axis, -1), op["activation_noise.down"], op["activation_noise.up"]).movedim(-1, axis)
    a = a + strength * e
    b = fourier(w, n) + strength * noise(w.flatten(1), op["weight_noise.down"], op["weight_noise.up"]).reshape(w.shape)
    b = b + stop(alpha(w) * b - b)
    return with_bias(convolve(a, b, layer), layer)
