import numpy as np

from drawing.raster import grid_triangles, rasterise


def square(left: float, top: float, side: float) -> np.ndarray:
    steps = np.array([0, side], np.float32)
    x, y = np.meshgrid(steps + left, steps + top)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def test_a_square_covers_its_pixels_and_carries_its_attributes_linearly() -> None:
    points = square(2, 3, 4)
    drawn = rasterise(points, np.zeros(4), points * [10, 1], grid_triangles(2, 2), 12, 9)
    expected = np.zeros((9, 12), bool)
    expected[3:8, 2:7] = True
    np.testing.assert_array_equal(drawn.covered, expected)
    rows, columns = np.nonzero(expected)
    np.testing.assert_allclose(drawn.values[rows, columns, 0], columns * 10, atol=1e-3)
    np.testing.assert_allclose(drawn.values[rows, columns, 1], rows, atol=1e-3)
    assert not drawn.values[~expected].any()


def test_the_nearer_surface_wins_whatever_the_order() -> None:
    for near, far in ((0, 1), (1, 0)):
        points = np.concatenate([square(1, 1, 6), square(4, 4, 6)])
        nearness = np.repeat([float(near), float(far)], 4)
        which = np.repeat([5.0, 8.0], 4)[:, None]
        triangles = np.concatenate([grid_triangles(2, 2), grid_triangles(2, 2, 4)])
        drawn = rasterise(points, nearness, which, triangles, 16, 16)
        assert drawn.values[5, 5, 0] == (8 if far else 5)
        assert drawn.values[2, 2, 0] == 5
        assert drawn.values[9, 9, 0] == 8


def test_a_fine_mesh_has_no_holes_and_backs_are_not_drawn() -> None:
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(0, 60, 41), np.linspace(0, 60, 41))
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    inner = (points > 1).all(axis=1) & (points < 59).all(axis=1)
    points[inner] += rng.uniform(-0.3, 0.3, (inner.sum(), 2))
    triangles = grid_triangles(41, 41)
    front = rasterise(points, np.zeros(len(points)), points, triangles, 61, 61)
    assert front.covered.all()
    back = rasterise(points, np.zeros(len(points)), points, triangles, 61, 61, facing=-1)
    assert not back.covered.any()


def test_a_surface_outside_the_picture_is_cut_off() -> None:
    points = square(-50, -50, 53)
    drawn = rasterise(points, np.zeros(4), points, grid_triangles(2, 2), 8, 8)
    assert drawn.covered.sum() == 16
    away = rasterise(points - 100, np.zeros(4), points, grid_triangles(2, 2), 8, 8)
    assert not away.covered.any()
