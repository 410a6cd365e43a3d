"""The compiled core and threads: the same bits with any number, several callers at once, forks, no GIL held."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import bibench
from bibench.kernels import native
from bibench.kernels.rows import Scaling, scale_rows
from bibench.kernels.spec import LayerSpec
from bibench.kernels.surrogate import Polynomial, sign

from .native import ISAS, identical, needs_core, values

pytestmark = needs_core


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


SPECS = [
    LayerSpec("conv2d", 48, 40, (3, 3), (1, 1), (1,) * 4, (1, 1)),
    LayerSpec("conv2d", 48, 48, (3, 3), (2, 2), (1,) * 4, (1, 1), groups=48),
    LayerSpec("conv2d", 48, 40, (5, 5), (1, 1), (2, 1, 0, 3), (2, 1), groups=4, pad_value=-1),
    LayerSpec("linear", 48, 70),
]


def work(batch: int, seed: int = 0) -> list[Tensor]:
    """Something of everything the core does."""
    done = []
    for spec in SPECS:
        shape = (batch, 48) if spec.kind == "linear" else (batch, 48, 19, 23)
        weight = values(spec.out_channels, 48 // spec.groups, *spec.kernel_size, seed=seed + 1)
        for layout in (torch.contiguous_format, torch.channels_last)[: len(shape) // 2]:
            x = values(*shape, seed=seed).contiguous(memory_format=layout)
            done.append(native.convolve(x, weight, torch.ones(spec.out_channels), spec))
    q, k = values(batch, 3, 25, 40, seed=seed), values(batch, 3, 33, 40, seed=seed + 1)
    done += [native.scores(q, k), native.context((native.scores(q, k) > 0).float(), k)]
    x, grad = values(batch, 20000, seed=seed), values(batch, 20000, seed=seed + 1)
    with torch.no_grad():
        done += [sign(x), Polynomial().backward(grad, x), scale_rows(x, Scaling(), 0.5)]
    return done


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_any_number_of_threads_gives_the_same_bits(isa: str, batch: int) -> None:
    with native.using(isa):
        torch.set_num_threads(1)
        expected = work(batch)
        for threads in (2, 3, 4):
            torch.set_num_threads(threads)
            assert all(identical(a, b) for a, b in zip(work(batch), expected, strict=True))


def test_several_callers_at_once() -> None:
    torch.set_num_threads(2)
    expected = {seed: work(2, seed) for seed in range(3)}
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda i: (i % 3, work(2, i % 3)), range(24)))
    for seed, found in results:
        assert all(identical(a, b) for a, b in zip(found, expected[seed], strict=True))


def test_several_callers_train_models_of_their_own() -> None:
    def losses(seed: int) -> list[float]:
        generator = torch.Generator().manual_seed(seed)
        layer = nn.Conv2d(16, 16, 3, padding=1)
        with torch.no_grad():
            for p in layer.parameters():
                p.copy_(torch.randn(p.shape, generator=generator))
        x = torch.randn(4, 16, 10, 10, generator=generator)
        bibench.binarize(layer, "bireal", example_inputs=x, keep=())
        optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
        found = []
        for _ in range(8):
            loss = layer(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    expected = [losses(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(losses, range(4))) == expected


class Binarizing(Dataset):
    """Runs a binarized model on each example, as a teacher or a feature extractor would."""

    def __init__(self) -> None:
        self.layer = nn.Conv2d(8, 8, 3, padding=1)
        bibench.binarize(self.layer, "dorefa", example_inputs=self.x(0), keep=())

    def x(self, i: int) -> Tensor:
        return values(1, 8, 40, 40, seed=i, special=False)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> Tensor:
        with torch.no_grad():
            return self.layer(self.x(i))[0]


def test_data_loading_workers_run_binarized_models() -> None:
    torch.set_num_threads(2)
    data = Binarizing()
    expected = torch.stack([data[i] for i in range(len(data))])  # the threads of this process have run
    got = torch.cat(list(DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context="fork", timeout=100)))
    assert torch.equal(got, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_it_does_not_have() -> None:
    from bibench import _core

    x, w = values(4, 32, 24, 24, seed=0), values(32, 32, 3, 3, seed=1)
    out, again = torch.empty_like(x), torch.empty_like(x)
    again.share_memory_()

    def convolve(to: Tensor) -> None:
        _core.convolve(x, w, to, (1, 1), (1, 1, 1, 1), (1, 1), 1, 0, None, None, None, 3)

    convolve(out)
    child = os.fork()
    if child == 0:
        try:
            convolve(again)
            os._exit(0)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 100
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the forked process hangs")
        time.sleep(0.02)
    assert ended[1] == 0
    assert torch.equal(out, again)


def test_other_python_threads_go_on_during_a_call() -> None:
    """With a switch interval of minutes a thread gets its turn only where the caller lets go of the GIL."""
    x, w = torch.randn(8, 256, 32, 32), torch.randn(256, 256, 3, 3)
    spec = LayerSpec("conv2d", 256, 256, (3, 3), (1, 1), (1,) * 4, (1, 1))
    go, went = threading.Event(), []
    thread = threading.Thread(target=lambda: (go.wait(), went.append(1)))
    interval = sys.getswitchinterval()
    thread.start()
    try:
        sys.setswitchinterval(600)
        go.set()
        sum(range(3_000_000))
        held = not went
        for _ in range(200):
            native.convolve(x, w, None, spec)
            if went:
                break
        released = bool(went)
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert held  # else this test shows nothing
    assert released
