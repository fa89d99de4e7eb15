"""Paint scenes: one textured object with a known mask on a background."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

TEXTURES = ('stripes', 'checks', 'dots', 'zigzag', 'rings')
PATCH_CONTRAST = (40, 110)
# Fractional bits of the fixed point vertices of cv2.
_FRACTION_BITS = 6
# Subpixels per side, to measure how much of a pixel an outline covers.
_FINE = 8


def _ring(count: int, radii: tuple[float, ...] = (1.0,)) -> np.ndarray:
    """Points (count, 2) at even angles around the origin, at the radii in rotation."""
    angles = np.arange(count) * (2 * np.pi / count)
    distances = np.resize(radii, count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * distances[:, None]


def _crescent() -> np.ndarray:
    """Points (60, 2): along a circle, and back along a smaller one that meets it in (.8, +-.6)."""
    outer, inner = (np.linspace(start, 2 * np.pi - start, 30)
                    for start in (np.arccos(0.8), np.arccos(0.6)))
    large = np.stack([np.cos(outer), np.sin(outer)], axis=1)
    small = np.stack([0.35 + 0.75 * np.cos(inner), 0.75 * np.sin(inner)], axis=1)
    return np.concatenate([large, small[::-1]])


def _polygon(*corners: tuple[float, float]) -> np.ndarray:
    return np.array(corners, dtype=float)


# Vertices (V, 2); `_paint_object` scales them to the object's area and moves them.
OUTLINES = {
    'disc': _ring(48),
    'star': _ring(10, (1.0, 0.45)),
    'square': _polygon((0, 0), (1, 0), (1, 1), (0, 1)),
    'triangle': _polygon((0, 1), (1, -0.73), (2, 1)),
    'cross': _polygon((1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 2),
                      (0, 2), (0, 1), (1, 1)),
    'bar': _polygon((0, 0), (3, 0), (3, 1), (0, 1)),
    'crescent': _crescent(),
    'arrow': _polygon((0, -1), (2, -1), (2, -2), (4, 0), (2, 2), (2, 1), (0, 1)),
    'corner': _polygon((0, 0), (1, 0), (1, 2), (3, 2), (3, 3), (0, 3)),
    'hourglass': _polygon((0, 0), (2, 0), (1.2, 1.5), (2, 3), (0, 3), (0.8, 1.5)),
}


@dataclass(frozen=True)
class Style:
    """What tells the classes apart, and what distracts from it.

    Attributes:
        shapes: Outlines of the objects.
        textures: Whether a class is a pair of a shape and a texture; if not, each object takes
            any texture.
        contrast: Range of the difference between the two colours of an object's texture in each
            channel, 0..255.
        area: Range of the fraction of the image that an object covers. Objects that do not fit
            into a narrow image are shrunk.
        stretch: Range of the factor by which it is widened, and made as much lower.
        turn: Range of its rotation, radians.
        clouds: How much the background varies, 1 for from dark to light.
        clutter: Whether the background has blobs, strokes and textured patches.
    """

    shapes: tuple[str, ...]
    textures: bool
    contrast: tuple[float, float]
    area: tuple[float, float]
    stretch: tuple[float, float]
    turn: tuple[float, float]
    clouds: float
    clutter: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels."""
        if not self.textures:
            return self.shapes
        return tuple(f'{texture} {shape}' for shape in self.shapes for texture in TEXTURES)


STYLES = {
    # More textures than shapes: networks learn textures well before outlines. Areas as in
    # photographs of single objects.
    'cluttered': Style(('disc', 'star'), textures=True, contrast=(110, 200), area=(0.10, 0.33),
                       stretch=(0.85, 1.18), turn=(0, 2 * np.pi), clouds=1, clutter=True),
    # Upright outlines, which a run of minutes learns.
    'plain': Style(tuple(OUTLINES), textures=False, contrast=(10, 40), area=(0.30, 0.60),
                   stretch=(0.92, 1.09), turn=(-np.pi / 90, np.pi / 90), clouds=0.15,
                   clutter=False),
}


def paint_scene(rng: np.random.Generator, label: int, size: tuple[int, int],
                style: Style = STYLES['cluttered']) -> tuple[np.ndarray, np.ndarray]:
    """Paint one scene.

    Args:
        rng: Source of all random draws.
        label: Class, an index into ``style.classes``.
        size: Height and width in pixels.
        style: Defaults to ``'cluttered'`` of ``STYLES``.

    Returns:
        ``uint8`` BGR image of shape ``(H, W, 3)`` and ``bool`` object mask ``(H, W)``.
    """
    canvas = _paint_clouds(rng, size, style.clouds)
    if style.clutter:
        _paint_clutter(rng, canvas)
        _paint_patches(rng, canvas)
    mask = _paint_object(rng, canvas, label, style)
    _shade(rng, canvas)
    return np.clip(canvas, 0, 255).astype(np.uint8), mask


def _paint_clouds(rng: np.random.Generator, size: tuple[int, int], strength: float) -> np.ndarray:
    """Paint clouds of colour: (H, W, 3) float32."""
    height, width = size
    # Two octaves of smooth noise for gradients and coarse structure.
    coarse = rng.uniform(60, 190, 3) + strength * rng.normal(0, 45, (3, 3, 3))
    coarse = cv2.resize(coarse, (9, 9), interpolation=cv2.INTER_CUBIC)
    coarse = (coarse + strength * rng.normal(0, 20, (9, 9, 3))).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _paint_clutter(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Paint blobs and strokes on the canvas, in place."""
    height, width = canvas.shape[:2]
    side, corner = min(height, width), np.array([width, height])
    blobs = int(rng.integers(8, 15))
    centres = (rng.random((blobs, 2)) * corner).astype(int).tolist()
    axes = np.rint(side * rng.uniform(0.03, 0.14, (blobs, 2))).astype(int).tolist()
    turns = rng.integers(0, 180, blobs).tolist()
    colours = rng.uniform(20, 235, (blobs, 3)).tolist()
    for blob in zip(centres, axes, turns, colours, strict=True):
        cv2.ellipse(canvas, *blob[:3], 0, 360, blob[3], cv2.FILLED)

    strokes = int(rng.integers(5, 10))
    steps = side * rng.normal(0, 0.16, (strokes, 5, 2))
    steps[:, 0] = rng.random((strokes, 2)) * corner
    paths = _fixed_point(np.cumsum(steps, axis=1))
    widths = rng.integers(1, max(2, side // 24) + 1, strokes).tolist()
    colours = rng.uniform(20, 235, (strokes, 3)).tolist()
    for path, thickness, colour in zip(paths, widths, colours, strict=True):
        cv2.polylines(canvas, [path], False, colour, thickness, cv2.LINE_8, _FRACTION_BITS)


def _paint_patches(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Paint small textured discs on the canvas, in place."""
    height, width = canvas.shape[:2]
    side, corner = min(height, width), np.array([width, height])
    for _ in range(rng.integers(3, 6)):
        axes = np.diag(side * rng.uniform(0.06, 0.13, 2))
        vertices = OUTLINES['disc'] @ axes @ _rotation(rng.uniform(0, np.pi))
        _fill_texture(rng, canvas, vertices + rng.random(2) * corner,
                      int(rng.integers(len(TEXTURES))), PATCH_CONTRAST)


def _paint_object(rng: np.random.Generator, canvas: np.ndarray, label: int,
                  style: Style) -> np.ndarray:
    """Paint the object of a class on the canvas, and return its (H, W) bool mask."""
    height, width = canvas.shape[:2]
    shape, texture = divmod(label, len(TEXTURES)) if style.textures else (label, None)
    vertices = OUTLINES[style.shapes[shape]]
    stretch = rng.uniform(*style.stretch)
    turn = rng.uniform(*style.turn)
    vertices = vertices @ np.diag([stretch, 1 / stretch]) @ _rotation(turn)
    vertices *= np.sqrt(rng.uniform(*style.area) * height * width / _area(vertices))
    # A pixel of margin keeps the whole outline inside.
    room = np.array([width - 3, height - 3])
    vertices *= min(1, (room / np.ptp(vertices, axis=0)).min())
    vertices -= vertices.min(axis=0)
    vertices += 1 + rng.uniform(0, 1, 2) * (room - np.ptp(vertices, axis=0))
    if texture is None:
        texture = int(rng.integers(len(TEXTURES)))
    coverage = _fill_texture(rng, canvas, vertices, texture, style.contrast)
    return coverage >= 128


def _shade(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Shade the canvas in one direction and add sensor noise, in place."""
    height, width = canvas.shape[:2]
    slope = rng.uniform(-0.35, 0.35, 2)
    across = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(slope[0])
    down = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(slope[1])
    canvas *= (np.float32(rng.uniform(0.8, 1.15)) + down[:, None] + across)[:, :, None]
    noise = rng.standard_normal(canvas.shape, dtype=np.float32)
    noise *= np.float32(rng.uniform(4, 12))
    canvas += noise


def _fill_texture(rng: np.random.Generator, canvas: np.ndarray, vertices: np.ndarray,
                  texture: int, contrast: tuple[float, float]) -> np.ndarray:
    """Fill a polygon with a texture of two colours.

    Args:
        rng: Draws colours, period, direction and phase.
        canvas: Float image ``(H, W, 3)``, changed in place.
        vertices: Polygon ``(V, 2)`` of x, y in pixels.
        texture: Index into ``TEXTURES``.
        contrast: Range of the difference of the colours in a channel, 0..255.

    Returns:
        Coverage of each pixel by the polygon, ``uint8 (H, W)``, 255 = full.
    """
    height, width = canvas.shape[:2]
    left, top = np.clip(np.floor(vertices.min(axis=0)) - 1, 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(vertices.max(axis=0)) + 2, 0, (width, height)).astype(int)
    coverage = np.zeros((height, width), np.uint8)
    if left == right or top == bottom:
        return coverage
    coverage[top:bottom, left:right] = _cover(vertices - (left, top), bottom - top, right - left)

    period = min(height, width) * rng.uniform(0.10, 0.15)
    x = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(vertices[:, 0].mean())
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(vertices[:, 1].mean())
    wave = _wave(rng, TEXTURES[texture], x, y, period)
    # Steep but not binary, to avoid jagged edges.
    share = np.clip(wave * 2 + 0.5, 0, 1)[:, :, None]

    # Swapped per channel, so that neither colour is generally brighter.
    difference = rng.uniform(*contrast, 3)
    low = 15 + rng.random(3) * (225 - difference)
    high = low + difference
    swap = rng.random(3) < 0.5
    first = np.where(swap, high, low).astype(np.float32)
    second = np.where(swap, low, high).astype(np.float32)
    alpha = coverage[top:bottom, left:right, None] * np.float32(1 / 255)
    region = canvas[top:bottom, left:right]
    region += alpha * (first + share * (second - first) - region)
    return coverage


def _wave(rng: np.random.Generator, texture: str, x: np.ndarray, y: np.ndarray,
          period: float) -> np.ndarray:
    """Evaluate a texture with random direction and phase: (H, W), about -1..1.

    Args:
        rng: Draws direction and phase.
        texture: One of ``TEXTURES``.
        x: Columns ``(1, W)``, relative to the centre.
        y: Rows ``(H, 1)``, relative to the centre.
        period: In pixels.
    """
    phase = rng.uniform(0, 2 * np.pi, 2).astype(np.float32)
    frequency = np.float32(2 * np.pi / period)
    if texture == 'rings':
        return np.sin(np.hypot(x, y) * frequency + phase[0])
    axes = (frequency * _rotation(rng.uniform(0, np.pi))).astype(np.float32)
    u = axes[0, 0] * x + (axes[0, 1] * y + phase[0])
    if texture == 'stripes':
        return np.sin(u)
    v = axes[1, 0] * x + (axes[1, 1] * y + phase[1])
    if texture == 'checks':
        return 2 * np.sin(u) * np.sin(v)
    if texture == 'dots':
        return np.sin(u) + np.sin(v) - 0.5
    # The inner arcsin(sin) is a triangle wave, which bends stripes into chevrons.
    return np.sin(u + 1.6 * np.arcsin(np.sin(0.6 * v)))


def _cover(vertices: np.ndarray, height: int, width: int) -> np.ndarray:
    """Coverage of each pixel by a polygon: (H, W) uint8, 255 = full."""
    # cv2's antialiasing widens polygons by half a pixel or more, so supersample and average. Pixel
    # centres are at integers.
    fine = np.zeros((height * _FINE, width * _FINE), np.uint8)
    vertices = (vertices + 0.5) * _FINE - 0.5
    cv2.fillPoly(fine, [_fixed_point(vertices)], 255, cv2.LINE_8, _FRACTION_BITS)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)


def _fixed_point(vertices: np.ndarray) -> np.ndarray:
    """Round x, y to the fixed point numbers of cv2."""
    return np.rint(vertices * 2**_FRACTION_BITS).astype(np.int32)


def _rotation(turn: float) -> np.ndarray:
    """Matrix (2, 2) that rotates row vectors."""
    cosine, sine = np.cos(turn), np.sin(turn)
    return np.array([[cosine, sine], [-sine, cosine]])


def _area(vertices: np.ndarray) -> float:
    """Area of a simple polygon, by the shoelace formula."""
    x, y = vertices.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
