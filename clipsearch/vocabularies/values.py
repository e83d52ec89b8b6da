"""What a vocabulary is once it is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

Choose = Literal["one", "any"]


@dataclass(frozen=True, slots=True)
class Label:
    """A tag name, `animal/dog`, and the words that a photo is compared with.

    `synonyms` begins with the label's own words ("dog"). `threshold` is a probability, 0 to 1,
    that replaces the calibrated decision; empty `templates` stand for the vocabulary's.
    """

    name: str
    synonyms: tuple[str, ...]
    threshold: float | None = None
    templates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Labels of which a photo gets at most one, or any; `background` fits where none does."""

    name: str
    choose: Choose
    labels: tuple[Label, ...]
    background: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Groups of labels, and the templates for all labels that have none of their own."""

    name: str
    groups: tuple[Group, ...]
    templates: tuple[str, ...]

    @property
    def labels(self) -> tuple[Label, ...]:
        """All labels, group after group."""
        return tuple(label for group in self.groups for label in group.labels)

    @property
    def hash(self) -> str:
        """SHA-256 of all that decides which tags are given.

        Neither the name of the vocabulary, nor the order of groups and labels, nor the layout
        of the file counts.
        """
        canonical = [
            [
                group.name,
                group.choose,
                group.background,
                sorted(
                    [label.name, label.synonyms, label.threshold, label.templates or self.templates]
                    for label in group.labels
                ),
            ]
            for group in sorted(self.groups, key=lambda group: group.name)
        ]
        text = json.dumps(canonical, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def ancestors(name: str) -> tuple[str, ...]:
    """Return the tags that a label implies, from the top: `a/b/c` implies `a` and `a/b`."""
    parts = name.split("/")
    return tuple("/".join(parts[:end]) for end in range(1, len(parts)))


def own_words(name: str) -> str:
    """Return what a photo is compared with for a label: "dog" for `animal/dog`."""
    return name.rpartition("/")[2]
