"""Every error that clipsearch raises on purpose.

ClipsearchError                 one sentence: what happened, to which file, what to do
  ModelError                    a model cannot be loaded or used
    UnknownModelError           no model has that name; the message offers the nearest names
    WeightsError                weights are missing, damaged or belong to another architecture
  PhotoError                    a photo cannot be read; has `path` and `reason`
  DecoderError                  no process can be started that decodes photos
  PhotoNotFoundError            the library has no such photo
  LibraryError                  the library cannot be opened or changed
    ForeignDatabaseError        the file is no clipsearch catalogue, or a newer version wrote it
    LibraryBusyError            another process is indexing the library
    DamagedLibraryError         the catalogue is damaged or lost; the message says how to repair it
    ReadOnlyLibraryError        the library lies where nothing may be written
  QueryError                    a query cannot be understood; has `position`
  TextError                     labels, captions or templates cannot be used
    VocabularyError             a vocabulary cannot be read
  SidecarError                  an XMP sidecar is broken or cannot be written
  ExportError                   an export cannot be written
  RunError                      there is no such run, or it cannot be undone
"""

from __future__ import annotations


class ClipsearchError(Exception):
    """Base of all errors whose message is meant for the user."""


class ModelError(ClipsearchError):
    """A model cannot be loaded or used."""


class UnknownModelError(ModelError):
    """No model has that name."""


class WeightsError(ModelError):
    """Weights are missing, damaged or belong to another architecture."""


class PhotoError(ClipsearchError):
    """A photo cannot be read.

    `transient` is true where another attempt may succeed although the file stays
    the same: a permission, a disk error, a file that was being written.
    """

    def __init__(self, path: str, reason: str, *, transient: bool = False) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.transient = transient


class DecoderError(ClipsearchError):
    """No process can be started that decodes photos; it is not a photo that is to blame."""


class PhotoNotFoundError(ClipsearchError):
    """The library has no such photo."""


class LibraryError(ClipsearchError):
    """The library cannot be opened or changed."""


class ForeignDatabaseError(LibraryError):
    """The file is no clipsearch catalogue, or a newer version wrote it."""


class DamagedIndexError(LibraryError):
    """A part of the index file is not what was written; the index is made anew for the next."""


class LibraryBusyError(LibraryError):
    """Another process is changing the library."""


class DamagedLibraryError(LibraryError):
    """The catalogue is damaged or lost; the message says how to repair it."""


class ReadOnlyLibraryError(LibraryError):
    """The library lies where nothing may be written."""


class TextError(ClipsearchError):
    """Labels, captions or templates cannot be used."""


class VocabularyError(TextError):
    """A vocabulary cannot be read; the message names file, line and column."""


class SidecarError(ClipsearchError):
    """An XMP sidecar is broken or cannot be written."""


class ExportError(ClipsearchError):
    """An export cannot be written."""


class RunError(ClipsearchError):
    """There is no such run, or it cannot be undone."""


class QueryError(ClipsearchError):
    """A query cannot be understood; `position` is the offset of the culprit in `query`."""

    def __init__(self, message: str, query: str, position: int) -> None:
        shown = "".join(char if char.isprintable() else " " for char in query)
        super().__init__(f"{message}\n  {shown}\n  {' ' * position}^")
        self.reason = message
        self.query = query
        self.position = position
