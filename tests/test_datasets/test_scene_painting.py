import cv2
import numpy as np
import pytest
from matplotlib.path import Path

from amt_mm.datasets import scene_painting
from amt_mm.datasets.scene_painting import OUTLINES, STYLES, TEXTURES, paint_scene

SHAPES = STYLES['cluttered'].shapes


@pytest.mark.parametrize('style', STYLES.values(), ids=STYLES)
def test_mask_is_exactly_what_was_painted(monkeypatch, style):
    """Slow oracle: a pixel is object if the polygon covers half of its 12 x 12 sample points."""
    fill = scene_painting._fill_texture
    polygons = []

    def spy(rng, canvas, vertices, texture, contrast):
        before = canvas.copy()
        coverage = fill(rng, canvas, vertices, texture, contrast)
        if contrast == style.contrast:
            polygons.append((vertices, np.abs(canvas - before).max(axis=-1)))
        return coverage

    monkeypatch.setattr(scene_painting, '_fill_texture', spy)
    rng = np.random.default_rng(0)
    masks = [paint_scene(rng, label, (40, 56), style)[1] for label in range(10)]
    assert len(polygons) == 10
    y, x = (np.mgrid[:40 * 12, :56 * 12] + 0.5) / 12 - 0.5
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    for mask, (vertices, change) in zip(masks, polygons, strict=True):
        inside = Path(vertices).contains_points(points).reshape(40, 12, 56, 12).mean(axis=(1, 3))
        # cv2 fills the subpixels of the border, too: an eighth of a pixel at each edge.
        clear = np.abs(inside - 0.5) > 0.2
        np.testing.assert_array_equal(mask[clear], inside[clear] > 0.5)
        assert mask.sum() == pytest.approx(inside.sum(), rel=0.04)
        # Only the object was painted.
        outside = cv2.dilate((inside > 0).astype(np.uint8), np.ones((3, 3))) == 0
        assert (change[outside] == 0).all()
        assert (change[inside == 1] > 1).mean() > 0.97


@pytest.mark.parametrize('shape', SHAPES)
def test_mask_has_the_shape_of_its_class(shape):
    """Solidity (area over convex hull) and coverage of the box, from geometry."""
    rng = np.random.default_rng(0)
    for texture in range(len(TEXTURES)):
        label = SHAPES.index(shape) * len(TEXTURES) + texture
        mask = paint_scene(rng, label, (128, 128))[1].astype(np.uint8)
        pieces, _ = cv2.connectedComponents(mask)
        assert pieces == 2
        outline = max(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)
        hull = cv2.convexHull(outline)
        solidity = cv2.contourArea(outline) / cv2.contourArea(hull)
        if shape == 'disc':
            _, sides, _ = cv2.minAreaRect(hull)
            assert solidity > 0.95
            assert cv2.contourArea(hull) / np.prod(sides) == pytest.approx(np.pi / 4, abs=0.04)
        else:
            # Ten triangles of sides 1 and .45, hull five of sides 1 and 1.
            exact = 10 * 0.45 * np.sin(np.pi / 5) / (5 * np.sin(2 * np.pi / 5))
            assert solidity == pytest.approx(exact, abs=0.06)


@pytest.mark.parametrize('texture, radius, peaks', [
    ('stripes', 32, 2),
    ('dots', 32, 4),
    ('checks', 32 * 2**0.5, 4),
])
def test_lattices_have_their_period(texture, radius, peaks):
    """The spectrum of 256 pixels at period 8 has all its energy at 1 / 8, or sqrt(2) / 8."""
    grid = np.arange(256, dtype=np.float32)
    wave = scene_painting._wave(np.random.default_rng(0), texture, grid[None], grid[:, None], 8)
    assert wave.shape == (256, 256)
    energy = np.abs(np.fft.fft2((wave - wave.mean()) * np.outer(np.hanning(256), np.hanning(256))))
    frequency = np.fft.fftfreq(256, 1 / 256)
    rows, columns = np.nonzero(energy > energy.max() / 2)
    np.testing.assert_allclose(np.hypot(frequency[rows], frequency[columns]), radius, atol=1.5)
    spots, _ = cv2.connectedComponents(np.fft.fftshift(energy > energy.max() / 2).astype(np.uint8))
    assert spots - 1 == peaks


def test_rings_are_rotation_invariant_and_zigzag_is_not():
    grid = np.arange(-40, 41, dtype=np.float32)
    rings, zigzag = (scene_painting._wave(np.random.default_rng(0), t, grid[None], grid[:, None], 8)
                     for t in ('rings', 'zigzag'))
    np.testing.assert_allclose(rings, np.rot90(rings), atol=1e-4)
    along = rings[40, 40:]
    assert np.corrcoef(along[:-8], along[8:])[0, 1] > 0.99
    # Chevrons have two gradient directions in equal parts, stripes have one.
    dy, dx = np.gradient(zigzag)
    tensor = np.array([[np.mean(dx * dx), np.mean(dx * dy)], [np.mean(dx * dy), np.mean(dy * dy)]])
    low, high = np.linalg.eigvalsh(tensor)
    assert 0.2 < low / high < 1


@pytest.mark.parametrize('size', [(32, 64), (64, 32), (48, 48)])
def test_objects_keep_their_size(size):
    rng = np.random.default_rng(0)
    area = [paint_scene(rng, label % 10, size)[1].mean() for label in range(96)]
    assert min(area) >= 0.08 and max(area) <= 0.35


@pytest.mark.parametrize('shape', OUTLINES)
def test_plain_objects_are_their_outlines_upright(shape):
    """Cut out and scaled to a square, they overlap with the outline drawn as it is written."""
    label = STYLES['plain'].classes.index(shape)
    points = OUTLINES[shape] - OUTLINES[shape].min(axis=0)
    exact = np.zeros((300, 300), np.uint8)
    cv2.fillPoly(exact, [np.rint(20 + 250 * points / points.max()).astype(np.int32)], 1)
    exact = cv2.resize(_cut(exact), (64, 64), interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(0)
    alike = []
    for _ in range(12):
        mask = paint_scene(rng, label, (128, 128), STYLES['plain'])[1].astype(np.uint8)
        assert .1 < mask.mean() < .62
        found = cv2.resize(_cut(mask), (64, 64), interpolation=cv2.INTER_AREA)
        alike.append([(found == np.rot90(exact, turns)).mean() for turns in range(4)])
    mean = np.mean(alike, axis=0)
    # A quarter turn is no better, even where it changes little.
    assert mean[0] > .75 and mean[0] >= mean.max() - .02


def _cut(mask):
    rows, columns = np.nonzero(mask)
    return mask[rows.min():rows.max() + 1, columns.min():columns.max() + 1]


def test_object_has_contrast_and_background_is_cluttered():
    rng = np.random.default_rng(0)
    for label in range(60):
        image, mask = paint_scene(rng, label % 10, (64, 64))
        assert image[mask].std(axis=0).max() > 25
        assert image[~mask].std(axis=0).max() > 20
