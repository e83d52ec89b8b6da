"""How names that people type are compared with names that files, cameras and tags have."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Callable


def fold(text: str) -> str:
    """Return a text for comparing: without case, and accents written in one way (NFC)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def path_pattern(pattern: str) -> Callable[[str], bool]:
    """Return a test of `a/b/c` paths: some of their parts in a row match those of `pattern`.

    `animal` fits `animal/dog` and `zoo/animal`, `trips/*lisbon` fits `home/trips/2019 Lisbon/day
    1`. `*` stands for any characters of one part, `?` for one of them.
    """
    parts = [part for part in fold(pattern).split("/") if part]
    if not parts:
        return lambda _: False
    if not any(char in pattern for char in "*?"):
        wanted = "/" + "/".join(parts) + "/"
        return lambda path: wanted in f"/{fold(path)}/"
    tests = [glob(part) for part in parts]

    def fits(path: str) -> bool:
        found = fold(path).split("/")
        return any(
            all(test(part) for test, part in zip(tests, found[start:], strict=False))
            for start in range(len(found) - len(tests) + 1)
        )

    return fits


def contains(pattern: str) -> Callable[[str], bool]:
    """Return a test of names that contain `pattern`, or match it whole where it has `*` or `?`."""
    wanted = fold(pattern)
    if any(char in pattern for char in "*?"):
        whole = glob(wanted)
        return lambda name: whole(fold(name))
    return lambda name: wanted in fold(name)


def glob(pattern: str) -> Callable[[str], bool]:
    """Return a test of folded texts against a folded pattern with `*` and `?`."""
    expression = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
    return lambda text: expression.match(text) is not None


def like(pattern: str) -> str:
    r"""Return a pattern with `*` and `?` in the words of SQL's `like ... escape '\'`."""
    escaped = re.sub(r"([\\%_])", r"\\\1", pattern)
    return escaped.replace("*", "%").replace("?", "_")
