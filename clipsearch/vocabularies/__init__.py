"""Vocabularies: labels with their synonyms and parents, in exclusive or independent groups.

A text file has one label a line, with its synonyms behind `=`:

    # lines like this are comments
    animal/dog = puppy, hound
    animal/cat
    beach

A TOML file adds groups and settings; only `labels` is required:

    name = "my photos"
    templates = ["a photo of a {}.", "a photo of {}."]       # default: clipsearch.prompts.TEMPLATES

    [group.animals]
    choose = "any"                                           # labels are independent: the default
    labels = [
        "animal/dog",
        { name = "animal/cat", synonyms = ["kitten"], threshold = 0.6, templates = ["a {}."] },
    ]

    [group.weather]
    choose = "one"                                           # a photo gets one label at most
    background = ["a room indoors", "something else"]        # ... or none, where these fit better
    labels = ["weather/sunny", "weather/rain"]

`animal/dog` is looked for as "dog" and implies the tag `animal`. Names differ in more than case.
Background texts go through the vocabulary's templates, as labels do.
"""

from __future__ import annotations

from clipsearch.errors import VocabularyError
from clipsearch.vocabularies.checking import Finding, check, synonym_limit
from clipsearch.vocabularies.embedding import embed
from clipsearch.vocabularies.files import default, read, to_toml
from clipsearch.vocabularies.values import Group, Label, Vocabulary, ancestors

__all__ = [
    "Finding",
    "Group",
    "Label",
    "Vocabulary",
    "VocabularyError",
    "ancestors",
    "check",
    "default",
    "embed",
    "read",
    "synonym_limit",
    "to_toml",
]
