"""An engine whose networks are exchanged while it runs: the new ones are opened beside."""

import logging
import threading

from config.errors import PuppetcamError
from config.schema import EngineSettings
from models.bundle import Bundle
from models.keypoints import Keypoints
from realtime.carry import Carry
from realtime.engine import Engine, open_engine
from realtime.frame import Image, Latest

_log = logging.getLogger(__name__)


class SwitchingEngine:
    """``Engine`` that hands everything on to another. One thread calls it; any may ``switch``."""

    def __init__(self, engine: Engine) -> None:
        """Owns ``engine`` from now on."""
        self._engine = engine
        self._image: Image | None = None
        self._ready: Latest[tuple[Engine, Image | None]] = Latest()
        self._closed = False

    @property
    def bundle(self) -> Bundle:
        """See ``Engine``."""
        return self._engine.bundle

    @property
    def provider(self) -> str:
        """See ``Engine``."""
        return self._engine.provider

    @property
    def settings(self) -> EngineSettings:
        """See ``Engine``."""
        return self._engine.settings

    def set_avatar(self, image: Image) -> Keypoints:
        """See ``Engine``."""
        self._take()
        self._image = image
        return self._engine.set_avatar(image)

    def keypoints(self, image: Image) -> tuple[Keypoints, float]:
        """See ``Engine``."""
        self._take()
        return self._engine.keypoints(image)

    def generate(self, keypoints: Keypoints, carrier: Carry | None = None) -> Image:
        """See ``Engine``."""
        return self._engine.generate(keypoints, carrier)

    def switch(self, settings: EngineSettings) -> None:
        """Open other networks and run them as soon as they know the avatar. Where they do not open
        or do not fit, that is told and nothing changes."""
        threading.Thread(target=self._open, args=(settings,), name="engine", daemon=True).start()

    def close(self) -> None:
        """See ``Engine``."""
        self._closed = True
        waiting = self._ready.take(0)
        if waiting is not None:
            waiting[0].close()
        self._engine.close()

    def _open(self, settings: EngineSettings) -> None:
        image = self._image
        try:
            engine = open_engine(settings)
        except PuppetcamError as error:
            _log.warning("the networks stay as they are: %s", error)
            return
        if _shape(engine.bundle) != _shape(self.bundle):
            _log.warning(
                "the networks stay as they are: %s has other landmarks or another size",
                engine.bundle.path,
            )
            engine.close()
            return
        if image is not None:
            engine.set_avatar(image)
        self._ready.put((engine, image))

    def _take(self) -> None:
        """Run the new networks, if there are any."""
        found = self._ready.take(0)
        if found is None:
            return
        engine, image = found
        if self._image is not None and self._image is not image:
            engine.set_avatar(self._image)  # the avatar was changed meanwhile
        before, self._engine = self._engine, engine
        before.close()


def _shape(bundle: Bundle) -> tuple[object, ...]:
    """What those who hold an engine have made their buffers and tables for."""
    return bundle.family, bundle.output_size, bundle.keypoint_size, bundle.landmarks
