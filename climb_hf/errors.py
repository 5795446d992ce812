"""Every error that climb-hf raises on purpose, as one tree with builtin parents.

`except ClimbError` catches all of them; `except FileNotFoundError` and friends go on working.
A message says what failed, where, why, and what to do next.
"""

from __future__ import annotations


class ClimbError(Exception):
    """Root of the tree."""


class CardError(ClimbError, ValueError):
    """A source's card contradicts itself or lacks a fact."""


class OptionError(ClimbError, ValueError):
    """An argument has a value that is not allowed."""


class ConfigNameError(OptionError):
    """A config or source name is missing or unknown."""


class DataNotFoundError(ClimbError, FileNotFoundError):
    """The raw data of a source are not where they were looked for."""


class MissingFileError(ClimbError, FileNotFoundError):
    """A record is listed but none of its files is on disk (a partial download)."""


class CorruptFileError(ClimbError, ValueError):
    """A file is there but is not what it claims to be."""


class TooManyBadRecordsError(ClimbError, RuntimeError):
    """Too large a share of a source could not be read, or none of it is left."""


class PreparedFolderError(ClimbError, RuntimeError):
    """A prepared folder is unfinished, damaged, of another schema, or not one of ours."""


class FolderInUseError(PreparedFolderError):
    """Another build is writing into the prepared folder."""


class DownloadError(ClimbError, OSError):
    """A file could not be fetched or written, or a host answered what cannot be used."""


class AccessError(DownloadError, PermissionError):
    """A host wants to know who asks, or that its terms are accepted first."""


class ManifestError(ClimbError, RuntimeError):
    """A manifest of downloaded files is missing, damaged, or of another version."""


class DependencyError(ClimbError, ImportError):
    """An optional package is missing; the message holds the line that installs it."""


class RegistrationError(ClimbError, RuntimeError):
    """`datasets` has no place any more where the name "climb" can be made known."""


class RewardError(ClimbError, RuntimeError):
    """A reward function raised or returned something that is not a list of rewards."""


class CheckFailedError(ClimbError, AssertionError):
    """A source failed a check of the battery; the message names what was found and expected."""


class CheckpointError(ClimbError, RuntimeError):
    """A checkpoint cannot be written or resumed so that the run stays the same."""
