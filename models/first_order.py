"""The First Order Motion Model: keypoint detector and generator of one published checkpoint.

Paper: Siarohin et al. 2019, "First Order Motion Model for Image Animation", arXiv 2003.00196.
"""

from pathlib import Path
from typing import Self

from torch import Tensor, nn

from config.network import NetworkConfig, load_network
from models.checkpoint import load_weights
from models.generator import EncodedAvatar, OcclusionAwareGenerator
from models.keypoint_detector import KeypointDetector
from models.keypoints import Keypoints


class FirstOrderModel(nn.Module):
    """A still picture (avatar) moved by keypoints. Pictures are (B, 3, H, W) float32 RGB 0..1.

    B and the device are the same in all arguments; H = W = ``size`` is what a network was trained
    for. Wants crops framed as its training data were; it does not find faces.
    """

    family = "first-order"
    landmarks: tuple[str, ...] = ()
    """The keypoints have no names: they are learnt without landmarks."""

    def __init__(self, config: NetworkConfig) -> None:
        """Random weights that move nothing yet; see ``from_checkpoint``."""
        super().__init__()
        self.config = config
        self.size = self.output_size = config.size
        self.keypoint_size = config.size
        self.num_keypoints = config.num_keypoints
        self.kp_detector = KeypointDetector(config)
        self.generator = OcclusionAwareGenerator(config)

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, config: str | Path | NetworkConfig = "vox-256"
    ) -> Self:
        """Published or imported weights, on the CPU, for inference (eval mode, no gradients).

        ``config`` is a name in ``config/``, the path of a YAML file, or a configuration. Raises
        CheckpointError for a file that is not a whole checkpoint of that network, SettingsError for
        an unknown ``config``.
        """
        network = config if isinstance(config, NetworkConfig) else load_network(config)
        model = cls(network)
        load_weights(model, Path(path), network.name)
        return model.eval().requires_grad_(False)

    def detect(self, image: Tensor) -> Keypoints:
        """Keypoints of a picture: value (B, K, 2) in -1..1, jacobian (B, K, 2, 2)."""
        keypoints: Keypoints = self.kp_detector(image)
        return keypoints

    def encode(self, image: Tensor) -> EncodedAvatar:
        """What ``generate`` needs of the avatar's picture; once per avatar."""
        return self.generator.encode(image)

    def generate(
        self, avatar: EncodedAvatar, avatar_keypoints: Keypoints, keypoints: Keypoints
    ) -> Tensor:
        """The avatar moved from its own keypoints to ``keypoints``: (B, 3, H, W) 0..1."""
        image: Tensor = self.generator(avatar, avatar_keypoints, keypoints)
        return image
