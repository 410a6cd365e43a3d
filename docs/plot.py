"""A small SVG line plot, byte-identical wherever it is drawn (no plotting library, no fonts embedded)."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT, MARGIN = 420, 260, 36
COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce")


def line_plot(x: Sequence[float], curves: Sequence[tuple[str, Sequence[float]]], *, label: str, x_label: str) -> str:
    """Curves over common x values, with a legend, axes and grid lines at whole numbers."""
    low = min(0.0, *(min(values) for _, values in curves))
    high = max(1.0, *(max(values) for _, values in curves)) * 1.05
    left, right = min(x), max(x)

    def px(value: float) -> float:
        return MARGIN + (value - left) / (right - left) * (WIDTH - 2 * MARGIN)

    def py(value: float) -> float:
        return HEIGHT - MARGIN - (value - low) / (high - low) * (HEIGHT - 2 * MARGIN)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12">',
        f"<title>{label}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tick in range(round(left), round(right) + 1):
        parts.append(_line(px(tick), py(low), px(tick), py(high), "#ddd"))
        parts.append(f'<text x="{px(tick):.1f}" y="{HEIGHT - 20}" text-anchor="middle">{tick}</text>')
    for tick in range(int(low), int(high) + 1):
        parts.append(_line(px(left), py(tick), px(right), py(tick), "#ddd"))
        parts.append(f'<text x="{MARGIN - 8}" y="{py(tick) + 4:.1f}" text-anchor="end">{tick}</text>')
    for number, (name, values) in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{px(a):.1f},{py(b):.1f}" for a, b in zip(x, values, strict=True))
        dash = "" if number == 0 else ' stroke-dasharray="6 3"'
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{MARGIN + 6}" y="{MARGIN - 20 + 15 * number}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 5}" text-anchor="middle">{x_label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
