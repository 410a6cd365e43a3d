"""`import bibench` is light, and imports inside the package run one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "bibench"

HEAVY = ("lightning", "lightning_fabric", "torchmetrics", "torchvision", "transformers", "plotly", "sklearn", "skimage")

# Rooms from the bottom up: a module imports from its own room and from rooms below, never above.
ROOMS = [
    ["errors"],
    ["checksums", "plain", "typed_json", "visible"],
    ["signals", "registry", "spec", "files", "choice", "distillation", "functions", "latent", "state_dicts"],
    ["finding", "lines", "numbers"],
    ["fx_leaf", "fast_paths", "undo", "watching"],
    ["leases"],
    ["locks"],
    ["native", "sealed"],
    ["lookup"],
    ["surrogate", "provenance"],
    ["rows"],
    ["noise", "input_scale"],
    ["operators"],
    ["products"],
    ["fused", "rectified"],
    ["computing"],
    ["layers", "attention", "embedding"],
    ["tracing"],
    ["calls"],
    ["proving"],
    ["auditing"],
    ["conversion"],
    ["compressor"],
    ["comparators", "complexity"],
    ["models", "data", "recipe"],
    ["tasks"],
    ["cell"],
    ["suite", "records"],
    ["store", "stats", "suites", "published"],
    ["train", "contracts"],
    ["deploy"],
    ["plan", "worker"],
    ["tracks"],
    ["statistics"],
    ["run", "measure", "report", "recommend"],
    ["cli"],
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_loads_torch_and_little_else() -> None:
    loaded = run(
        "import torch, sys; a = set(sys.modules); import bibench; print(*sorted(set(sys.modules) - a))"
    ).split()
    ours = [m for m in loaded if m.split(".")[0] == "bibench"]
    others = [m for m in loaded if m.split(".")[0] != "bibench"]
    assert not [m for m in loaded if m.split(".")[0] in HEAVY]
    assert len(ours) < 40
    assert len(others) < 10, others


@pytest.mark.parametrize(
    ("verb", "needs"),
    [
        ("list operators", ""),
        ("list suites", ""),
        ("plan sensitivity_quick", ""),
        ("plan smoke --tasks digits_photos,shapes,shape_parts,embedded_stsb,formant_words", ""),
        ("plan smoke", "torchvision"),  # has a detector, whose parts are torchvision's
        ("status smoke", "torchvision"),
    ],
)
def test_light_verbs_do_not_import_the_training_libraries(verb: str, needs: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.argv = ['bibench', *{verb.split()!r}]\n"
        "from bibench.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout.splitlines()[-1] == f"HEAVY {needs}".strip()


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_run_one_way(file: Path) -> None:
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    tree = ast.parse(file.read_text())
    for node in tree.body:  # imports at the top; those inside functions are deliberate exceptions
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bibench."):
            other = room(node.module)
            assert LEVEL[other] <= LEVEL[own], f"{own} imports from {other}, a room above it"
            assert LEVEL[other] < LEVEL[own] or other == own, f"{own} and {other} are in the same room"


def test_every_file_has_a_docstring_and_is_short() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{file} has no docstring"
        assert len(text.splitlines()) < 400, f"{file} is long; is it one thing?"
