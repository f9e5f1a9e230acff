"""Plots of what is paid against what is got, the best ones joined: as PNG and as an HTML page.

Both are made of the same few shapes, so they show the same.
"""

import html
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from realtime.frame import Image

WIDTH, HEIGHT = 640, 420
"""Pixels of one plot."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 40, 55
_INK, _SOFT, _BEST, _OTHER = (34, 38, 46), (214, 218, 224), (20, 110, 190), (150, 154, 162)
_LINE_PX = 20


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration in one plot."""

    label: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Plot:
    """Less is better on x; on y, more if ``more_is_better``, else less."""

    title: str
    x_label: str
    y_label: str
    points: tuple[Point, ...]
    more_is_better: bool


@dataclass(frozen=True, slots=True)
class _Line:
    start: tuple[float, float]
    end: tuple[float, float]
    colour: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Dot:
    at: tuple[float, float]
    text: str
    colour: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Text:
    at: tuple[float, float]
    """Left end of the base line; its middle where ``centred``."""
    text: str
    centred: bool = False


_Shape = _Line | _Dot | _Text


def front(plot: Plot) -> list[Point]:
    """The points that no other one beats or equals on one axis and beats on the other, by x."""
    sign = -1 if plot.more_is_better else 1
    best: list[Point] = []
    for point in sorted(plot.points, key=lambda one: (one.x, sign * one.y)):
        if not best or sign * point.y < sign * best[-1].y:
            best.append(point)
    return best


def as_png(plots: Sequence[Plot]) -> Image:
    """The plots below each other, each with its legend: (h, w, 3) uint8 RGB."""
    return np.concatenate([_drawn(plot) for plot in plots])


def as_html(title: str, plots: Sequence[Plot]) -> str:
    """A page that needs nothing else."""
    body = "\n".join(_svg(plot) for plot in plots)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>\n"
        "<style>body{font:15px sans-serif;margin:2em;max-width:44em}"
        "svg{display:block;margin:1em 0 2em}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n"
        "<p>Left is faster. Blue is best: nothing measured is better on both axes.</p>\n"
        f"{body}\n</body></html>\n"
    )


def _height(plot: Plot) -> int:
    return HEIGHT + _LINE_PX * len(plot.points) + 10


def _shapes(plot: Plot) -> list[_Shape]:
    x_ticks = _ticks([point.x for point in plot.points])
    y_ticks = _ticks([point.y for point in plot.points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return (
            _LEFT + across * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM),
        )

    shapes: list[_Shape] = [_Text((_LEFT, 22), f"{plot.title}: {plot.y_label}")]
    for x in x_ticks:
        low, high = place(x, y_ticks[0]), place(x, y_ticks[-1])
        shapes += [_Line(low, high, _SOFT), _Text((low[0], low[1] + 18), f"{x:g}", centred=True)]
    for y in y_ticks:
        left, right = place(x_ticks[0], y), place(x_ticks[-1], y)
        shapes += [_Line(left, right, _SOFT), _Text((10, left[1] + 4), f"{y:g}")]
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    shapes.append(_Text((middle, HEIGHT - 14), plot.x_label, centred=True))
    best = front(plot)
    for one, two in itertools.pairwise(best):
        shapes.append(_Line(place(one.x, one.y), place(two.x, two.y), _BEST))
    for number, point in enumerate(plot.points, start=1):
        colour = _BEST if point in best else _OTHER
        shapes.append(_Dot(place(point.x, point.y), str(number), colour))
        below = HEIGHT + _LINE_PX * number - 8
        text = f"{point.label}: {point.x:.1f}, {point.y:.1f}"
        shapes += [_Dot((20, below - 5), str(number), colour), _Text((38, below), text)]
    return shapes


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers around ``values``, at least two, about five."""
    low, high = min(values), max(values)
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * one for one in (1, 2, 2.5, 5, 10) if span / (power * one) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def _drawn(plot: Plot) -> Image:
    canvas = np.full((_height(plot), WIDTH, 3), 255, np.uint8)
    for shape in _shapes(plot):
        match shape:
            case _Line(start, end, colour):
                cv2.line(canvas, _pixel(start), _pixel(end), colour, 1, cv2.LINE_AA)
            case _Dot(at, text, colour):
                cv2.circle(canvas, _pixel(at), 9, colour, -1, cv2.LINE_AA)
                _write(canvas, (at[0], at[1] + 4), text, 0.36, (255, 255, 255), True)
            case _Text((x, y), text, centred):
                _write(canvas, (x, y), text, 0.42, _INK, centred)
    return canvas


def _write(
    canvas: Image,
    at: tuple[float, float],
    text: str,
    size: float,
    colour: tuple[int, int, int],
    centred: bool,
) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, _), _ = cv2.getTextSize(text, font, size, 1)
    left = at[0] - width / 2 if centred else at[0]
    cv2.putText(canvas, text, _pixel((left, at[1])), font, size, colour, 1, cv2.LINE_AA)


def _pixel(at: tuple[float, float]) -> tuple[int, int]:
    return round(at[0]), round(at[1])


def _svg(plot: Plot) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{_height(plot)}" '
        'font-family="sans-serif" font-size="13">'
    ]
    for shape in _shapes(plot):
        match shape:
            case _Line((x1, y1), (x2, y2), colour):
                parts.append(
                    f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                    f'stroke="rgb{colour}"/>'
                )
            case _Dot((x, y), text, colour):
                parts.append(
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="rgb{colour}"/>'
                    f'<text x="{x:.1f}" y="{y + 4:.1f}" fill="white" font-size="11" '
                    f'text-anchor="middle">{text}</text>'
                )
            case _Text((x, y), text, centred):
                anchor = ' text-anchor="middle"' if centred else ""
                parts.append(f'<text x="{x:.1f}" y="{y:.1f}"{anchor}>{html.escape(text)}</text>')
    return "\n".join([*parts, "</svg>"])
