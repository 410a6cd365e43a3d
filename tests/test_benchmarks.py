"""What the benchmarks print."""

from benchmarks import training_step


def test_training_steps_are_printed_as_the_table_of_the_documentation() -> None:
    rows = [
        {"model": model, "threads": threads, "name": f"{title}: {name}", "base": f"{title}: fp32 NCHW", "ratio": ratio}
        for model, threads, title, offset in (("resnet18", 1, "a", 0.0), ("resnet20", 2, "b", 0.1))
        for name, ratio in (("fp32 NCHW", 1.0), ("bnn", 0.8 + offset), ("bnn, plain", 1.4 + offset))
    ]
    assert training_step.table(rows).splitlines() == [
        "| operator | ResNet-18, batch 16, 1 thread | ResNet-20, batch 64, 2 threads |",
        "|---|---|---|",
        "| bnn | 0.80 | 0.90 |",
        "| bnn without the kernels | 1.40 | 1.50 |",
    ]
