"""puppetcam: a still picture, driven by a webcam, as a virtual camera."""

__version__ = "0.1.0"
