"""How a performer looks: every choice of one face, and random choices by a seed."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from drawing.head import Shape

Colour = tuple[int, int, int]
"""RGB, 0..255."""

Hair = Literal[
    "bald", "short", "crop", "side", "fringe", "bob", "long", "curly", "receding", "beanie"
]
Beard = Literal["none", "stubble", "moustache", "goatee", "full"]
Glasses = Literal["none", "round", "square", "half"]
Clothes = Literal["crew", "shirt", "v-neck", "jacket"]
Backdrop = Literal["room", "studio", "wall", "night"]


@dataclass(frozen=True, slots=True)
class Appearance:
    """One face, its clothes, its room and its light."""

    shape: Shape = field(default_factory=Shape)
    skin: Colour = (226, 178, 150)
    lips: Colour = (186, 96, 92)
    eyes: Colour = (96, 72, 44)
    hair: Hair = "side"
    hair_colour: Colour = (74, 50, 34)
    beard: Beard = "none"
    glasses: Glasses = "none"
    glasses_colour: Colour = (40, 36, 38)
    clothes: Clothes = "crew"
    clothes_colour: Colour = (58, 92, 120)
    backdrop: Backdrop = "room"
    backdrop_colour: Colour = (196, 188, 172)
    age: float = 0.15
    """0 young .. 1 old: folds and lines."""
    freckles: float = 0.0
    """0..1"""
    blush: float = 0.5
    """0..1"""
    lashes: float = 0.5
    """0 pale .. 1 made up."""
    light_side: float = -35.0
    """Degrees; below 0 the light comes from the picture's left."""
    light_strength: float = 1.0
    """0.6 dim .. 1.4 bright."""
    warmth: float = 0.0
    """-1 bluish .. 1 yellowish light."""
    seed: int = 0
    """Of strands, freckles and what stands in the room."""


_SKINS = (
    (250, 214, 194), (240, 198, 172), (228, 180, 150), (214, 164, 130), (198, 146, 110),
    (176, 122, 88), (150, 100, 70), (122, 80, 56), (98, 64, 46), (76, 50, 38),
)  # fmt: skip
_HAIRS = (
    (28, 24, 24), (44, 32, 26), (70, 46, 30), (98, 66, 40), (140, 98, 58), (196, 158, 98),
    (222, 192, 140), (150, 70, 36), (120, 116, 112), (206, 204, 200),
)  # fmt: skip
_EYES = ((70, 46, 28), (96, 70, 40), (110, 104, 60), (84, 112, 84), (86, 120, 150), (120, 140, 150))


def random_appearance(seed: int) -> Appearance:
    """A face drawn at random; the same seed gives the same face."""
    rng = np.random.default_rng(seed)

    def spread(low: float, high: float) -> float:
        """Between the limits, the middle more often."""
        return float(low + (high - low) * rng.beta(2, 2))

    def vary(colour: Colour, by: float = 10.0) -> Colour:
        shift = rng.normal(0, by) + rng.normal(0, by / 3, 3)
        red, green, blue = np.clip(np.array(colour) + shift, 8, 250).astype(int)
        return int(red), int(green), int(blue)

    def choose(*options: tuple[str, float]) -> str:
        chances = np.array([chance for _, chance in options])
        return options[int(rng.choice(len(options), p=chances / chances.sum()))][0]

    man = bool(rng.random() < 0.5)
    old = float(np.clip(rng.beta(1.3, 2.2), 0, 1))
    tone = int(rng.integers(len(_SKINS)))
    skin = vary(_SKINS[tone], 4)
    dark = tone / (len(_SKINS) - 1)
    if old > 0.6 and rng.random() < 0.7:
        hair_colour = _HAIRS[int(rng.integers(8, 10))]
    else:
        hair_colour = _HAIRS[int(rng.integers(0, 3 if dark > 0.5 else 8))]
    if man:
        hair = choose(
            ("short", 3), ("crop", 2), ("side", 3), ("bald", 1.2), ("receding", 1 + 2 * old),
            ("curly", 0.7), ("long", 0.3), ("beanie", 0.7), ("fringe", 0.5),
        )  # fmt: skip
        beard = choose(
            ("none", 3), ("stubble", 1.5), ("moustache", 0.7), ("goatee", 0.8), ("full", 1.5)
        )
    else:
        hair = choose(
            ("long", 3), ("bob", 2), ("fringe", 2), ("curly", 1.5), ("side", 0.7), ("crop", 0.3),
            ("beanie", 0.4),
        )  # fmt: skip
        beard = "none"
    made_up = not man and rng.random() < 0.5
    redden = np.array([0.9, 0.62, 0.62]) if not made_up else np.array([0.85, 0.42, 0.46])
    lips = tuple(int(c) for c in np.clip(np.array(skin) * redden + [4, 8, 10], 20, 240))
    shape = Shape(
        width=spread(0.92, 1.08),
        jaw=spread(0.95, 1.14) if man else spread(0.86, 1.04),
        chin=spread(-0.5, 0.7) if man else spread(-0.7, 0.4),
        cheeks=spread(-1, 1),
        nose_width=spread(0.85, 1.1) + 0.2 * dark * rng.random(),
        nose_length=spread(0.85, 1.15),
        eyes=spread(0.86, 1.1) if man else spread(0.95, 1.25),
        eye_tilt=spread(-0.2, 0.3),
        brow_y=spread(-0.35, 0.35),
        brow_thickness=spread(0.8, 1.6) if man else spread(0.5, 1.1),
        brow_arch=spread(0.0, 0.45) if man else spread(0.1, 0.8),
        mouth=spread(0.88, 1.12),
        lips=spread(0.6, 1.1) + 0.35 * dark * rng.random(),
        beard=spread(0.3, 1.4) if beard == "full" else 0.0,
    )
    return Appearance(
        shape=shape,
        skin=skin,
        lips=lips,  # type: ignore[arg-type]
        eyes=vary(_EYES[int(rng.integers(0, 2 if dark > 0.6 else len(_EYES)))], 8),
        hair=hair,  # type: ignore[arg-type]
        hair_colour=vary(hair_colour, 8),
        beard=beard,  # type: ignore[arg-type]
        glasses=choose(("none", 3), ("round", 0.6), ("square", 0.8), ("half", 0.4)),  # type: ignore[arg-type]
        glasses_colour=vary((50, 44, 46) if rng.random() < 0.7 else (150, 110, 70), 14),
        clothes=choose(("crew", 2), ("shirt", 1.5), ("v-neck", 1), ("jacket", 1)),  # type: ignore[arg-type]
        clothes_colour=vary((110, 110, 116), 52),
        backdrop=choose(("room", 2), ("studio", 1), ("wall", 1.5), ("night", 0.7)),  # type: ignore[arg-type]
        backdrop_colour=vary((176, 172, 166), 34),
        age=old,
        freckles=spread(0, 1) if dark < 0.4 and rng.random() < 0.3 else 0.0,
        blush=spread(0.2, 0.9),
        lashes=0.9 if made_up else spread(0.2, 0.6),
        light_side=spread(-75, 75),
        light_strength=spread(0.7, 1.15) * (1 + 0.25 * dark),  # a webcam exposes for the face
        warmth=spread(-0.9, 0.9),
        seed=seed,
    )
