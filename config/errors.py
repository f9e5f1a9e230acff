"""The whole error tree.

Every message is one line for the user: what was asked, what was found, what to do.
The command line prints it as ``puppetcam: <message>`` and exits with ``exit_code``.
"""

LONGEST = 1500
"""Characters of a message; a longer one is cut."""


class PuppetcamError(Exception):
    """Base of all errors that puppetcam raises on purpose. Exit code 2: the user can mend it."""

    exit_code = 2

    def __str__(self) -> str:
        """One printable line: names that come from files may hold anything, such as what steers a
        terminal."""
        text = super().__str__()
        if not text.isprintable():
            text = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


class SettingsError(PuppetcamError):
    """An unknown setting, a wrong type, a value out of range, an unreadable settings file."""


class NeedsRestartError(SettingsError):
    """A setting that cannot be changed while puppetcam runs."""


class ActionError(PuppetcamError):
    """An action that is not known, or whose value cannot be used."""


class ControlError(PuppetcamError):
    """A run that cannot be reached, or whose answer cannot be understood."""


class CheckpointError(PuppetcamError):
    """A checkpoint file that is not what its name says."""


class BundleError(PuppetcamError):
    """A bundle that is missing, incomplete, changed, or of an unknown format."""


class DownloadError(PuppetcamError):
    """A download that failed on every mirror, or whose bytes are not the expected ones."""


class ExportError(PuppetcamError):
    """An export that cannot be written, or whose output does not agree with the PyTorch model."""


class AvatarError(PuppetcamError):
    """An avatar picture that cannot be used: unreadable, no face, too small."""


class ConsentError(PuppetcamError):
    """An avatar of which nobody has said whose face it is."""


class CredentialsError(PuppetcamError):
    """A key or certificate that cannot sign, or a file that could not be signed."""


class SourceError(PuppetcamError):
    """A camera or video that cannot be opened or read."""


class SinkError(PuppetcamError):
    """An output that cannot be opened or written."""


class EngineError(PuppetcamError):
    """A runtime that is missing or failed."""

    exit_code = 1


class MissingPackageError(EngineError):
    """An optional package that is not installed; the message names the extra that brings it."""

    exit_code = 2
