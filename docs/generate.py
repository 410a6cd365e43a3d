"""Write the reference pages from the classes themselves.

python docs/generate.py            write docs/operators/, docs/tasks/, docs/api/, docs/tree.md and parts of README.md
python docs/generate.py --check    exit 1 if a page is not what would be written
"""

from __future__ import annotations

import ast
import inspect
import sys
from dataclasses import fields
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
import faces
import task_pages
import tree_page
from plot import line_plot

from bibench.kernels.spec import LayerSpec, of_layer
from bibench.kernels.surrogate import Surrogate
from bibench.operators import OPERATORS, Operator, known_operators

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SPEC = LayerSpec(kind="linear", in_channels=64, out_channels=64, input_shape=(64,), output_shape=(64,))
CONVOLUTION = of_layer(torch.nn.Conv2d(64, 64, 3, padding=1), input_shape=(64, 8, 8), output_shape=(64, 8, 8))
PAPER_OPERATORS = [name for name in known_operators() if OPERATORS[name].__module__.startswith("bibench.operators")]


def pages() -> dict[Path, str]:
    """Every generated file with its text."""
    made = {DOCS / "operators" / "README.md": index(), ROOT / "README.md": readme()}
    made |= {DOCS / "tree.md": tree_page.page(tree()), **faces.pages()}
    made |= {DOCS / "tasks" / name: text for name, text in task_pages.pages().items()}
    for name in PAPER_OPERATORS:
        made[DOCS / "operators" / f"{name}.md"] = operator_page(name)
        if not OPERATORS[name].full_precision:
            made[DOCS / "operators" / f"{name}.svg"] = surrogate_plot(name)
    return made


def readme() -> str:
    """README.md with its generated parts renewed: the example operator and the tree of files."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = (ROOT / "examples" / "my_operator.py").read_text(encoding="utf-8")
    text = between(text, "example", f"```python\n{example}```")
    return between(text, "tree", f"```text\n{tree()}```")


def between(text: str, marker: str, content: str) -> str:
    """`text` with `content` between <!-- marker --> and <!-- /marker -->, where it has them."""
    if f"<!-- {marker} -->\n" not in text:
        return text
    head, _, rest = text.partition(f"<!-- {marker} -->\n")
    _, _, tail = rest.partition(f"<!-- /{marker} -->")
    return f"{head}<!-- {marker} -->\n{content}\n<!-- /{marker} -->{tail}"


OTHER_FOLDERS = {
    "examples": "an operator of your own, the tutorial as a notebook, a program in C++",
    "docs": "pages on operators, tasks, data and records; generate.py writes those that come from the classes",
    "tests": "the tests, in the tree of the sources",
    "benchmarks": "measurements of speed beside a peer: python -m benchmarks",
}


def tree() -> str:
    """One line per source file, from its docstring."""
    lines = []
    package = ROOT / "src" / "bibench"
    for path in sorted(package.rglob("*.py"), key=lambda p: (len(p.parts) > len(package.parts) + 1, p.parts)):
        relative = path.relative_to(package)
        if path.name == "__init__.py" and len(relative.parts) > 1:
            lines.append(_tree_line(f"{relative.parent.as_posix()}/", path, 2))
        else:
            lines.append(_tree_line(path.name, path, 2 * len(relative.parts)))
    lines += [f"{name + '/':<34}{text}" for name, text in OTHER_FOLDERS.items()]
    return "\n".join(["src/bibench/", *lines, ""])


def _tree_line(name: str, path: Path, indent: int) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    summary = docstring.partition("\n\n")[0].replace("\n", " ").replace("``", "").rstrip(".")
    return f"{' ' * indent + name:<34}{summary}"


def index() -> str:
    """The list of operators with their techniques (the paper's Table 6)."""
    columns = [f.name for f in fields(OPERATORS["bnn"].techniques)]
    head = ["operator", *(c.replace("_", " ") for c in columns)]
    lines = ["# Operators", "", "Techniques as in Table 6 of the paper, with its two swapped cells corrected.", ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in PAPER_OPERATORS:
        row = [f"[{OPERATORS[name].title}]({name}.md)", *(getattr(OPERATORS[name].techniques, c) for c in columns)]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join([*lines, "", task_pages.SHARED_ATTENTION, ""])


def operator_page(name: str) -> str:
    """Formula, description, surrogate, techniques, profiles and options of one operator."""
    cls = OPERATORS[name]
    lines = [f"# {cls.title} (`{name}`)", "", *([cls.paper, ""] if cls.paper else [])]
    lines += ["$$", cls.formula, "$$", "", description(cls), ""]
    if not cls.full_precision:
        instance = cls(SPEC)
        lines += ["## Surrogate gradients", "", f"![Surrogate gradients of {cls.title}]({name}.svg)", ""]
        for what, estimator in estimators(instance):
            lines += [f"- {what}: {estimator.label}, $`{estimator.formula}`$"]
        lines += ["", "## Techniques", "", "| technique | |", "|---|---|"]
        lines += [f"| {f.name.replace('_', ' ')} | {getattr(cls.techniques, f.name)} |" for f in fields(cls.techniques)]
        lines += ["", "## At inference", "", leftovers(cls), ""]
    lines += ["## Profiles", "", "- `default`: as described here"]
    lines += [f"- `{profile}`: {text}" for profile, text in cls.profiles.items()]
    options = {k: v for k, v in cls.options().items() if k != "profile"}
    if options:
        lines += ["", "## Options", "", *(f"- `{k}={v!r}`" for k, v in options.items())]
    return "\n".join([*lines, ""])


def description(cls: type[Operator]) -> str:
    """The class docstring with its arguments as a list."""
    text = inspect.getdoc(cls) or ""
    body, _, arguments = text.partition("Args:\n")
    items = []
    for line in arguments.splitlines():
        if line.startswith("    ") and not line.startswith("     "):
            option, _, rest = line.strip().partition(": ")
            items.append(f"- `{option}`: {rest}")
        elif line.strip():
            items.append(f"  {line.strip()}")
    return "\n".join([body.strip(), *([""] if items else []), *items])


def estimators(op: Operator) -> list[tuple[str, Surrogate]]:
    """The surrogates of activations and weights."""
    return [("activations", op.activation_estimator), ("weights", op.weight_estimator)]


def leftovers(cls: type[Operator]) -> str:
    """What `inference_form` says is left of a convolution, in words."""
    form = cls(CONVOLUTION).inference_form(torch.randn(64, 64, 3, 3))
    parts = ["1-bit weights"]
    if form.channel_scale is not None:
        parts.append("one scale per output channel, which folds into a following batch norm")
    if form.threshold is not None:
        parts.append("one threshold per input channel")
    if form.spatial_scale is not None:
        parts.append("in convolutions one scale per row and column of the output map")
    if form.activation_scale is not None:
        parts.append("a scale computed from the input at run time")
    if form.centre is not None:
        parts.append("a mean of the input that is subtracted at run time")
    if form.window is not None:
        parts.append("a multiple of the sum of signed inputs over each window")
    if form.offset is not None:
        parts.append("an offset per output channel")
    if form.gate is not None:
        parts.append("a gate per output channel computed from the input at run time")
    return "What is left: " + "; ".join(parts) + "."


def surrogate_plot(name: str) -> str:
    """The surrogate gradients over [-2, 2], at the start and the end of training where they change."""
    op = OPERATORS[name](SPEC)
    x = torch.linspace(-2, 2, 401, dtype=torch.float64)
    curves = []
    for what, estimator in estimators(op):
        curves.append((what, estimator.curve(x).tolist()))
    op.progress(0.999, 0.001)
    for what, estimator in estimators(op):
        late = estimator.curve(x).tolist()
        if late not in [values for _, values in curves]:
            curves.append((f"{what}, end of training", late))
    if curves[0][1] == curves[1][1]:
        curves = [("activations and weights", curves[0][1]), *curves[2:]]
    return line_plot(x.tolist(), curves, label=f"Surrogate gradients of {op.title}", x_label="value before the sign")


def main() -> None:
    """Write or check."""
    stale = []
    for path, text in pages().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.relative_to(ROOT))
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if "--check" in sys.argv and stale:
        sys.exit(f"out of date: {', '.join(map(str, stale))}; run: python docs/generate.py")


if __name__ == "__main__":
    main()
