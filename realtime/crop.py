"""Square crops: where they lie, how they are cut, and how keypoints move between them.

A crop's own coordinates are those of the keypoints: x right and y down, -1..1, where -1 and 1 are
the centres of the first and the last pixel of the cut picture.
"""

CROP_RATIO = 1.85
"""Side of a crop against the height of the box around the face's landmarks, avatars and drivers."""
