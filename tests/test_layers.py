"""What is computed in another way than a runtime would choose is the same."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from models.field import coordinate_grid, near, near_any  # noqa: E402
from models.layers import parted_head, planes  # noqa: E402


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(5)


def test_a_head_of_single_pixels_is_a_product() -> None:
    head, x = nn.Conv2d(7, 5, 1), torch.randn(2, 7, 6, 9)
    torch.testing.assert_close(planes(x, head), head(x))


def test_a_head_in_parts_is_the_head() -> None:
    head, x = nn.Conv2d(7, 5, 3, padding=1), torch.randn(2, 7, 6, 9)
    first, second = parted_head(x, head, 4, 1)
    assert first.shape[1] == 4
    torch.testing.assert_close(torch.cat([first, second], 1), head(x))


def test_what_is_near_falls_with_the_square_of_the_distance() -> None:
    value = torch.tensor([[[-0.3, 0.2], [0.5, -0.6]]])
    steepness, strength = torch.tensor([4.0, 9.0]), torch.tensor([1.5, 0.7])
    away = (coordinate_grid(16, value)[None] - value[0][:, None, None]).square().sum(-1)
    expected = strength[:, None, None] * torch.exp(-steepness[:, None, None] * away)
    torch.testing.assert_close(near(value, steepness, 16, strength)[0], expected)
    torch.testing.assert_close(near_any(value, steepness, 16, strength)[0, 0], expected.sum(0))
