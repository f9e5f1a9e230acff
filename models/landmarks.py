"""The 48 face landmarks that the compact networks use as keypoints.

Indices are those of the MediaPipe face mesh (478 points, Apache-2.0 canonical face). "right" is
the person's right: the left side of an unmirrored picture.
"""

NAMES: dict[str, int] = {
    "right_eye_outer": 33,
    "right_eye_inner": 133,
    "right_lid_upper_outer": 160,
    "right_lid_upper": 159,
    "right_lid_upper_inner": 158,
    "right_lid_lower_outer": 144,
    "right_lid_lower": 145,
    "right_lid_lower_inner": 153,
    "left_eye_outer": 263,
    "left_eye_inner": 362,
    "left_lid_upper_outer": 387,
    "left_lid_upper": 386,
    "left_lid_upper_inner": 385,
    "left_lid_lower_outer": 373,
    "left_lid_lower": 374,
    "left_lid_lower_inner": 380,
    "right_iris": 468,
    "left_iris": 473,
    "right_brow_outer": 70,
    "right_brow": 105,
    "right_brow_inner": 107,
    "left_brow_outer": 300,
    "left_brow": 334,
    "left_brow_inner": 336,
    "nose_tip": 1,
    "nose_bridge": 6,
    "right_nostril": 98,
    "left_nostril": 327,
    "mouth_right": 61,
    "mouth_left": 291,
    "lip_upper": 0,
    "lip_lower": 17,
    "lip_upper_right": 39,
    "lip_upper_left": 269,
    "lip_lower_right": 181,
    "lip_lower_left": 405,
    "inner_lip_upper": 13,
    "inner_lip_lower": 14,
    "inner_lip_upper_right": 82,
    "inner_lip_upper_left": 312,
    "inner_lip_lower_right": 87,
    "inner_lip_lower_left": 317,
    "chin": 152,
    "jaw_right": 172,
    "jaw_left": 397,
    "temple_right": 234,
    "temple_left": 454,
    "forehead": 10,
}
"""Name -> MediaPipe index, in the order of the keypoints."""

COUNT = len(NAMES)
INDEX: dict[str, int] = {name: order for order, name in enumerate(NAMES)}
"""Name -> position among the keypoints."""


def _mirrored(name: str) -> str:
    swap = {"right": "left", "left": "right"}
    return "_".join(swap.get(part, part) for part in name.split("_"))


MIRROR: tuple[int, ...] = tuple(INDEX[_mirrored(name)] for name in NAMES)
"""Keypoint order after a left-right flip of the picture."""


def indices(*names: str) -> list[int]:
    """Positions among the keypoints of the given names."""
    return [INDEX[name] for name in names]
