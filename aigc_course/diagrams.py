"""Diagrams of models: symbols in circles and boxes, joined by arrows, in the colours of the page that shows them."""

import html
import itertools
import math
import textwrap
from collections.abc import Collection, Mapping, Sequence

_UNIT = 84.0  # pixels from one column or row to the next
_HALF = 23.0  # half the height of a node, and half the width of one with a short label
_BACK = "#d9822b"  # an orange that stands out on white and on black
_STROKE = 'stroke="currentColor" stroke-width="1.5"'
_LINE = f'fill="none" {_STROKE}'
_DASHED = f'fill="none" stroke="{_BACK}" stroke-width="2" stroke-dasharray="6 4"'


class Diagram:
    """A drawing that a notebook shows: an SVG that takes the colour of the text around it, in light and in dark."""

    def __init__(self, alt: str, svg: str) -> None:
        self.alt, self.svg = alt, svg

    def _repr_html_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return textwrap.fill(f"Diagram: {self.alt}", 84)


def draw(
    alt: str,
    nodes: Mapping[str, tuple[float, float]],
    arrows: Sequence[tuple[str, ...]] = (),
    *,
    variables: Collection[str] = (),
    observed: Collection[str] = (),
    bare: Collection[str] = (),
    dashed: Sequence[tuple[str, ...]] = (),
    labels: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    plates: Sequence[tuple[float, float, float, float, str]] = (),
) -> Diagram:
    """Return a diagram of a model.

    **Arguments:**

    - `alt`: the diagram in words, for whoever cannot see it.
    - `nodes`: each name with its place, (column, row) counted from the top left; the name is what stands in the node.
    - `arrows`: names in their order, `("x", "E", "z")` for an arrow from x to E and one from E to z.
    - `variables`: nodes that are circles, random variables; `observed` are shaded ones. `bare` have no frame. All
      others are boxes: networks and operations.
    - `dashed`: as `arrows`, for what goes back, a gradient or an inference: dashed, coloured, and bent to the side.
    - `labels`: what stands in a node if it is not its name, since two nodes may say the same.
    - `notes`: small print below a node, its shape above all.
    - `plates`: frames (left, top, right, bottom, label) around what is repeated, as in graphical models.

    Raises `ValueError` for an arrow, a label or a note of a node that is not there, and for an empty `alt`.
    """
    labels, notes = labels or {}, notes or {}
    _check(alt, nodes, [*arrows, *dashed], {*variables, *observed, *bare, *labels, *notes})
    places = {name: (_UNIT * column, _UNIT * row) for name, (column, row) in nodes.items()}
    widths = {name: max(_HALF, 9.0 + 5.5 * len(labels.get(name, name))) for name in nodes}
    circles = {*variables, *observed}

    def edge(name: str, towards: tuple[float, float]) -> tuple[float, float]:
        """Where the line from the middle of a node to another point leaves the node."""
        (x, y), gap = places[name], 4.0
        dx, dy = towards[0] - x, towards[1] - y
        length = math.hypot(dx, dy)
        if name in circles:
            reach = _HALF + gap
        else:
            across = (widths[name] + gap) / abs(dx / length) if dx else math.inf
            reach = min(across, (_HALF + gap) / abs(dy / length) if dy else math.inf)
        return x + dx / length * reach, y + dy / length * reach

    parts = []
    # left, top, right and bottom of all there is, a node's notes included
    boxes = [(x - widths[name], y - _HALF, x + widths[name], y + _HALF + 22) for name, (x, y) in places.items()]
    for left, top, right, bottom, label in plates:
        x, y, w, h = (_UNIT * value for value in (left, top, right - left, bottom - top))
        boxes.append((x, y, x + w, y + h))
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="10" {_LINE}/>')
        parts.append(_text(x + w - 14, y + h - 9, label, size=14))
    ways = [(path, 0.0, _LINE, "currentColor") for path in arrows]
    for path, bend, look, colour in [*ways, *[(path, 0.4, _DASHED, _BACK) for path in dashed]]:
        for start, end in itertools.pairwise(path):
            (x0, y0), (x1, y1) = places[start], places[end]
            middle = (x0 + x1) / 2 + bend * (y1 - y0), (y0 + y1) / 2 - bend * (x1 - x0)
            (xa, ya), (xb, yb) = edge(start, middle if bend else (x1, y1)), edge(end, middle if bend else (x0, y0))
            along = math.atan2(yb - middle[1], xb - middle[0])
            wings = [(xb - 11 * math.cos(along + turn), yb - 11 * math.sin(along + turn)) for turn in (-0.4, 0.4)]
            corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(xb, yb), *wings])
            xb, yb = xb - 8 * math.cos(along), yb - 8 * math.sin(along)  # the line ends inside the head
            curve = f"M{xa:.1f} {ya:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {xb:.1f} {yb:.1f}"
            parts.append(f'<path d="{curve}" {look}/><polygon points="{corners}" fill="{colour}"/>')
            turn = (xa + 2 * middle[0] + xb) / 4, (ya + 2 * middle[1] + yb) / 4  # where a curve is furthest out
            boxes.append((*turn, *turn))
    for name, (x, y) in places.items():
        shade = 'fill="currentColor" fill-opacity="0.2"' if name in observed else 'fill="none"'
        if name in circles:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_HALF}" {shade} {_STROKE}/>')
        elif name not in bare:
            w = widths[name]
            fill = 'fill="currentColor" fill-opacity="0.06"'
            box = f'x="{x - w:.1f}" y="{y - _HALF:.1f}" width="{2 * w:.1f}" height="{2 * _HALF}" rx="5"'
            parts.append(f"<rect {box} {fill} {_STROKE}/>")
        parts.append(_text(x, y + 6, labels.get(name, name), size=19, style="italic"))
        if name in notes:
            parts.append(_text(x, y + _HALF + 16, notes[name], size=13))
    return Diagram(alt, _svg(alt, parts, boxes))


def _text(x: float, y: float, text: str, size: int, style: str = "normal") -> str:
    look = f'font-family="serif" font-size="{size}" font-style="{style}" text-anchor="middle" fill="currentColor"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{html.escape(text)}</text>'


def _svg(alt: str, parts: Sequence[str], boxes: Sequence[tuple[float, float, float, float]]) -> str:
    """Put the parts together, in a frame that is as large as they need."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    left, top, right, bottom = min(lefts) - 8, min(tops) - 30, max(rights) + 8, max(bottoms) + 8
    width, height = right - left, bottom - top
    frame = f'viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" style="width:100%;max-width:{width:.0f}px"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{html.escape(alt)}" {frame}>'
    return f"{head}{''.join(parts)}</svg>"


def _check(
    alt: str, nodes: Mapping[str, tuple[float, float]], paths: Sequence[tuple[str, ...]], others: set[str]
) -> None:
    if not alt.strip():
        raise ValueError("alt is empty; it takes the diagram in words, for whoever cannot see it.")
    missing = sorted(({name for path in paths for name in path} | others) - nodes.keys())
    if missing:
        raise ValueError(f"there is no node {missing[0]!r}; the nodes are {', '.join(map(repr, nodes))}.")
