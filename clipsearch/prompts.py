"""Prompt templates, the neutral sentences that any answer must beat, and the bank of captions."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from clipsearch.errors import TextError
from clipsearch.models.embedder import Vectors
from clipsearch.resources import folder

Texts = Callable[[Sequence[str]], Vectors]
"""What turns texts into vectors: the `texts` of an embedder."""

TEMPLATES = (
    "a photo of a {}.",
    "a photo of {}.",
    "a snapshot of {} from a family album.",
    "a close-up photo of the {}.",
    "a picture with a {} somewhere in it.",
    "a bright, sharp photo that shows {}.",
    "a grainy old photo of {}.",
)
"""Seven ways to speak of a label in a personal photo, in the spirit of CLIP's own (Radford et al.
2021, section 3.1.4); the first is the one to use where only one is wanted. Labels go in as they
are, without an article fitted to them: half of the templates have none."""

MAX_BYTES = 64 * 2**20
_BLOCK = 4096  # texts that are embedded and held at once
_SHOWN = 60
LONGEST = 1000  # characters: more than the context of any model


def fill(template: str, label: str) -> str:
    """Put a label in the place of the one `{}` of a template; other braces stay as they are.

    Raises: TextError where the template has no `{}` or several.
    """
    places = template.count("{}")
    if places != 1:
        counted = f"{places} times" if places else "nowhere"
        raise TextError(
            f"the template {shown(template)} has {{}} {counted}; "
            'write it once, where the label goes: "a photo of a {}."'
        )
    return template.replace("{}", label)


def embed_labels(
    texts: Texts, labels: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> Vectors:
    """Return (n, dimensions) float32 rows of unit length: the normalised mean of each label's
    filled templates (prompt ensembling, Radford et al. 2021, section 3.1.4).

    Each different text is embedded once; the memory needed beside the result does not grow with
    the number of labels.

    Raises: TextError for a template without exactly one `{}`, or no template at all.
    """
    if not templates:
        raise TextError('there is no template; "{}" is the plain label')
    for template in templates:
        fill(template, "")
    rows = {label: row for row, label in enumerate(dict.fromkeys(labels))}
    distinct = list(rows)
    if not distinct:
        return texts([])
    step = max(1, _BLOCK // len(templates))
    blocks = [
        _ensemble(texts, distinct[start : start + step], templates)
        for start in range(0, len(distinct), step)
    ]
    vectors = np.concatenate(blocks)
    if len(distinct) == len(labels):
        return vectors
    return vectors[[rows[label] for label in labels]]


def background() -> tuple[str, ...]:
    """Return neutral sentences: what does not beat them says nothing of a photo."""
    return sentences(folder("data") / "background.txt")


def captions() -> tuple[str, ...]:
    """Return the bank of sentences for personal photos that ships with clipsearch."""
    return sentences(folder("data") / "captions.txt")


def sentences(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read a file of texts, one a line, without blank lines, repeats, and comments (`# ...`).

    Raises: TextError where the file cannot be read as UTF-8 text, or has no line of text.
    """
    lines = (" ".join(line.split()) for line in read_text(path).split("\n"))
    found = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not found:
        raise TextError(f"{printable(str(path))}: there is no text in the file; write one a line")
    return found


def require(texts: Sequence[str], what: str, *, least: int = 1, most: int = 20_000) -> None:
    """Refuse a list of texts that no model can answer; `what` names them ("labels").

    Raises: TextError for too few, too many, an empty or an endless one.
    """
    if len(texts) < least:
        hint = ' (with one, its probability is always 1: add "something else")' if texts else ""
        raise TextError(f"at least {least} {what} are needed, not {len(texts)}{hint}")
    if len(texts) > most:
        raise TextError(f"{len(texts)} {what} are more than {most}; use fewer")
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise TextError(f"number {number} of the {what} is empty; leave it out")
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            raise TextError(f"number {number} of the {what} is not UTF-8: {shown(text)}")
        if len(text) > LONGEST:
            raise TextError(
                f"number {number} of the {what} has {len(text)} characters, "
                f"more than {LONGEST}: {shown(text)}"
            )


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a UTF-8 file, with or without byte order mark; line ends become newlines.

    Raises: TextError where it is missing, no regular file, too large, or no text.
    """
    name = printable(str(path))
    try:
        kind = Path(path).stat().st_mode
        if stat.S_ISDIR(kind):
            raise TextError(f"{name}: this is a folder; name a text file")
        if not stat.S_ISREG(kind):
            raise TextError(f"{name}: this is no regular file; name a text file")
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise TextError(f"{name}: there is no such file; check its name") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise TextError(f"{name}: the file cannot be read ({reason}); check it") from error
    except ValueError as error:  # a NUL or a lone surrogate in the name
        raise TextError(f"{name}: no file can have this name; check it") from error
    if len(data) > MAX_BYTES:
        raise TextError(f"{name}: larger than {MAX_BYTES >> 20} MiB; split the file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TextError(f"{name}, line {line}: not UTF-8; save the file as UTF-8 text") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TextError(f"{name}, line {line}: a NUL character; save the file as UTF-8 text")
    return text


def shown(text: str) -> str:
    """Quote a text for a message: one line, printable, and short."""
    cut = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return f'"{printable(cut)}"'


def printable(text: str) -> str:
    """Replace what a terminal cannot show by a question mark."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _ensemble(texts: Texts, labels: Sequence[str], templates: Sequence[str]) -> Vectors:
    filled = [fill(template, label) for label in labels for template in templates]
    rows = {text: row for row, text in enumerate(dict.fromkeys(filled))}
    vectors = texts(list(rows))[[rows[text] for text in filled]]
    means = vectors.reshape(len(labels), len(templates), -1).mean(axis=1, dtype=np.float32)
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    unit: Vectors = (means / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit
