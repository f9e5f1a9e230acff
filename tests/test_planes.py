import numpy as np
import pytest

from config.errors import EngineError
from realtime.carry import Carrier
from realtime.planes import empty_planes, fill_planes, finish, to_picture


def test_every_level_survives_the_way_there_and_back() -> None:
    picture = np.arange(16 * 16 * 3, dtype=np.uint16).reshape(16, 16, 3).astype(np.uint8)
    planes = empty_planes(16)
    fill_planes(planes, picture)
    assert planes.shape == (1, 3, 16, 16)
    # Channel, row, column: red, green and blue keep their order.
    assert planes[0, 2, 3, 4] == np.float32(picture[3, 4, 2]) / np.float32(255)
    back = to_picture(planes)
    assert back.dtype == np.uint8
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, picture)


def test_output_is_rounded_and_clipped() -> None:
    planes = np.array([-0.2, 0.0, 0.49 / 255, 0.51 / 255, 254.4 / 255, 254.6 / 255, 1.0, 1.3, 9.0])
    picture = to_picture(np.broadcast_to(planes.reshape(1, 1, 3, 3), (1, 3, 3, 3)).astype("f4"))
    assert picture[:, :, 1].ravel().tolist() == [0, 0, 0, 1, 254, 255, 255, 255, 255]


@pytest.mark.parametrize(
    "picture", [np.zeros((8, 8, 3), np.uint8), np.zeros((16, 16, 3), np.float32)]
)
def test_a_picture_that_does_not_fit_is_named(picture: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"takes \(16, 16, 3\) uint8 pictures, found \("):
        fill_planes(empty_planes(16), picture)


def test_a_bundle_of_other_outputs_is_told() -> None:
    carrier = Carrier(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(EngineError, match="export its checkpoint again"):
        finish({"displacement": np.zeros((1, 2, 4, 4), np.float32)}, carrier)
