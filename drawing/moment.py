"""Pose and expression at one moment, in the words and signs that everybody uses."""

from dataclasses import dataclass

import numpy as np

from drawing.curves import Array

AMOUNTS = ("mouth_open", "smile", "pucker", "brow", "eye_right", "eye_left")
"""What an expression is made of, in the order of the displacements."""

PIVOT = np.array([0.0, 5.5, -0.5], np.float32)
"""The point that the head turns about: the top of the neck."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Pose and expression at one moment; the default looks ahead with a closed mouth."""

    yaw: float = 0.0
    """Degrees; above 0 the nose turns to the picture's right (the person's left)."""
    pitch: float = 0.0
    """Degrees; above 0 the face looks up."""
    roll: float = 0.0
    """Degrees; above 0 the crown tilts to the picture's right."""
    x: float = 0.0
    """Shift to the picture's right, in frame heights."""
    y: float = 0.0
    """Shift down, in frame heights."""
    zoom: float = 1.0
    """Size against the usual; above 1 is nearer."""
    mouth_open: float = 0.0
    """0 closed .. 1 wide open."""
    smile: float = 0.0
    """-0.5 sad .. 1 broad smile."""
    pucker: float = 0.0
    """-0.6 spread lips .. 1 pursed lips."""
    brow: float = 0.0
    """-0.7 frown .. 1 raised."""
    eye_right: float = 1.0
    """0 closed .. 1 open; 1.15 is startled."""
    eye_left: float = 1.0
    gaze_x: float = 0.0
    """-1..1 of 26 degrees in the head; above 0 to the picture's right."""
    gaze_y: float = 0.0
    """-1..1 of 20 degrees in the head; above 0 up."""

    def amounts(self) -> Array:
        """(6,) float32 in the order of ``AMOUNTS``."""
        return np.array([getattr(self, name) for name in AMOUNTS], np.float32)


def turned(points: Array, yaw: float, pitch: float, roll: float) -> Array:
    """``points`` (..., 3) turned about ``PIVOT`` by angles in degrees, signs as in ``Moment``."""
    y, p, r = np.radians([yaw, -pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    matrix = (about_z @ about_x @ about_y).astype(np.float32)
    return np.asarray((points - PIVOT) @ matrix.T + PIVOT, np.float32)


def random_moment(rng: np.random.Generator) -> Moment:
    """A pose and expression at random; shut eyes and open mouths are frequent."""
    yaw, pitch, roll = np.clip(rng.normal(0, (10, 6, 6)), -28, 28)
    eyes = float(rng.choice([0.0, rng.uniform(0, 0.7), rng.uniform(0.8, 1.15)], p=[0.2, 0.2, 0.6]))
    wink = float(rng.uniform(0, 1)) if rng.random() < 0.1 else eyes
    return Moment(
        yaw=float(yaw),
        pitch=float(pitch),
        roll=float(roll),
        x=float(rng.normal(0, 0.025)),
        y=float(rng.normal(0, 0.015)),
        zoom=float(rng.uniform(0.92, 1.1)),
        mouth_open=float(rng.uniform(0, 1)) if rng.random() < 0.55 else 0.0,
        smile=float(rng.uniform(0, 1)) if rng.random() < 0.4 else 0.0,
        pucker=float(rng.uniform(0, 1)) if rng.random() < 0.2 else 0.0,
        brow=float(np.clip(rng.normal(0, 0.5), -1, 1)),
        eye_right=eyes,
        eye_left=wink,
        gaze_x=float(rng.uniform(-1, 1)),
        gaze_y=float(rng.uniform(-0.8, 0.8)),
    )
