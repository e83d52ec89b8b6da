"""What makes zero-shot labels fail, found before a library is tagged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clipsearch.models.embedder import Vectors
from clipsearch.prompts import TEMPLATES, Texts, embed_labels, fill, shown
from clipsearch.vocabularies.values import Group, Label, Vocabulary, ancestors

Kind = Literal["duplicate", "near-synonyms", "no-background", "too-long"]

CLIP_CONTEXT = 77
MOST_PAIRS = 1000
_BLOCK = 256  # labels that are compared with all others at once
_ROUNDING = 1e-5  # what a cosine in float32 may be off

# Pairs of two words for one thing, and of two things that occur in like photos: what a
# vocabulary may confuse, and what it must keep apart.
SYNONYMS = (
    ("sofa", "couch"),
    ("bicycle", "bike"),
    ("car", "automobile"),
    ("motorcycle", "motorbike"),
    ("aeroplane", "airplane"),
    ("lorry", "truck"),
    ("taxi", "cab"),
    ("ship", "vessel"),
    ("sailing boat", "sailboat"),
    ("child", "kid"),
    ("baby", "infant"),
    ("grandmother", "grandma"),
    ("mother", "mum"),
    ("doctor", "physician"),
    ("policeman", "police officer"),
    ("fireman", "firefighter"),
    ("rabbit", "bunny"),
    ("puppy", "young dog"),
    ("kitten", "young cat"),
    ("hen", "chicken"),
    ("forest", "woods"),
    ("sea", "ocean"),
    ("street", "road"),
    ("motorway", "highway"),
    ("shop", "store"),
    ("cinema", "movie theatre"),
    ("block of flats", "apartment building"),
    ("lift", "elevator"),
    ("sunrise", "dawn"),
    ("sunset", "sundown"),
    ("wedding", "marriage ceremony"),
    ("football", "soccer"),
    ("television", "TV"),
    ("refrigerator", "fridge"),
    ("mobile phone", "cell phone"),
    ("present", "gift"),
    ("spectacles", "eyeglasses"),
    ("luggage", "baggage"),
    ("rubbish", "garbage"),
    ("biscuit", "cookie"),
    ("sweets", "candy"),
    ("stone", "rock"),
)
RELATED = (
    ("sofa", "table"),
    ("bicycle", "motorcycle"),
    ("car", "bus"),
    ("train", "tram"),
    ("aeroplane", "helicopter"),
    ("sailing boat", "ferry"),
    ("dog", "cat"),
    ("horse", "cow"),
    ("sheep", "goat"),
    ("lion", "tiger"),
    ("duck", "swan"),
    ("butterfly", "spider"),
    ("man", "woman"),
    ("baby", "grandmother"),
    ("bride", "groom"),
    ("doctor", "firefighter"),
    ("apple", "orange"),
    ("bread", "cake"),
    ("pizza", "sushi"),
    ("coffee", "tea"),
    ("wine", "beer"),
    ("fork", "spoon"),
    ("cup", "plate"),
    ("kitchen", "bathroom"),
    ("bedroom", "living room"),
    ("church", "castle"),
    ("bridge", "tower"),
    ("school", "hospital"),
    ("beach", "mountain"),
    ("river", "lake"),
    ("forest", "desert"),
    ("rain", "snow"),
    ("spring", "autumn"),
    ("day", "night"),
    ("sun", "moon"),
    ("rose", "tulip"),
    ("tree", "flower"),
    ("skiing", "swimming"),
    ("tennis", "golf"),
    ("football", "basketball"),
    ("birthday", "wedding"),
    ("concert", "parade"),
    ("guitar", "piano"),
    ("book", "newspaper"),
    ("letter", "receipt"),
    ("painting", "statue"),
    ("hat", "shoes"),
    ("laptop", "mobile phone"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend: `labels` are the names it is about, `fix` says how."""

    kind: Kind
    labels: tuple[str, ...]
    message: str
    fix: str


def synonym_limit(texts: Texts) -> float:
    """Return the cosine above which the model takes two labels for one thing.

    Models differ: one gives all words a cosine above 0.7, another spreads them from 0 to 1. So
    the limit comes from the model's own cosines of `SYNONYMS` and `RELATED`, under the first
    template: the one with the best F-measure, precision counted double (F0.5, van Rijsbergen
    1979, chapter 7), because a vocabulary has many related pairs and few synonyms.
    """
    same, different = _cosines(texts, SYNONYMS), _cosines(texts, RELATED)
    values = np.unique(np.concatenate([same, different]))
    limits = (values[:-1] + values[1:]) / 2
    if not len(limits):  # the model cannot tell any two words apart
        return float(values[0])
    hits = np.array([(same > limit).sum() for limit in limits])
    misses = len(same) - hits
    alarms = np.array([(different > limit).sum() for limit in limits])
    measure = 1.25 * hits / (1.25 * hits + 0.25 * misses + alarms)
    return float(limits[measure.argmax()])


def check(
    vocabulary: Vocabulary,
    texts: Texts,
    *,
    limit: float,
    context: Callable[[str], int] | None = None,
    context_length: int = CLIP_CONTEXT,
) -> list[Finding]:
    """Find what makes zero-shot labels fail, gravest first, near-synonyms by falling cosine.

    `limit` is `synonym_limit` of the same model. `context` counts the tokens of a text for
    that model, of which it reads `context_length`; without it lengths are not checked.
    Near-synonyms are sought within a group, where they compete, among the labels' own words;
    a label and its own parent may be close. At most `MOST_PAIRS` of them are told.
    """
    return [
        *_duplicates(vocabulary),
        *_no_background(vocabulary),
        *_near_synonyms(vocabulary, texts, limit),
        *(_too_long(vocabulary, context, context_length) if context else ()),
    ]


def _duplicates(vocabulary: Vocabulary) -> Iterator[Finding]:
    owners: dict[str, Label] = {}
    for group in vocabulary.groups:
        neutral = {text.casefold() for text in group.background}
        for label in group.labels:
            for word in label.synonyms:
                owner = owners.setdefault(word.casefold(), label)
                if owner is not label:
                    yield Finding(
                        "duplicate",
                        (owner.name, label.name),
                        f"{shown(word)} stands for both {shown(owner.name)} "
                        f"and {shown(label.name)}",
                        f"remove {shown(word)} from one of them, or say what sets them apart",
                    )
                if word.casefold() in neutral:
                    yield Finding(
                        "duplicate",
                        (label.name,),
                        f"{shown(word)} is a label and the background of group {shown(group.name)}",
                        f"remove {shown(word)} from the background",
                    )


def _no_background(vocabulary: Vocabulary) -> Iterator[Finding]:
    for group in vocabulary.groups:
        if group.choose == "one" and not group.background:
            yield Finding(
                "no-background",
                tuple(label.name for label in group.labels),
                f"group {shown(group.name)} gives every photo one of its labels, "
                "for it has no background",
                f'add background = ["something else"] to [group.{group.name}]',
            )


def _near_synonyms(vocabulary: Vocabulary, texts: Texts, limit: float) -> list[Finding]:
    found = [
        (cosine, group.labels[first], group.labels[second])
        for group in vocabulary.groups
        for cosine, first, second in _close_pairs(_own_vectors(texts, group), limit)
    ]
    found.sort(key=lambda pair: -pair[0])
    return [
        Finding(
            "near-synonyms",
            (first.name, second.name),
            f"the model takes {shown(first.synonyms[0])} and {shown(second.synonyms[0])} "
            f"for nearly the same (cosine {cosine:.2f}, limit {limit:.2f})",
            f"make {shown(second.synonyms[0])} a synonym of {shown(first.synonyms[0])}; where it "
            f"is a kind of it, name it {shown(f'{first.name}/{second.synonyms[0]}')} instead",
        )
        for cosine, first, second in found[:MOST_PAIRS]
        if not _one_line(first, second)
        and first.synonyms[0].casefold() != second.synonyms[0].casefold()
    ]


def _too_long(
    vocabulary: Vocabulary, context: Callable[[str], int], length: int
) -> Iterator[Finding]:
    for label in vocabulary.labels:
        template = max(label.templates or vocabulary.templates, key=len)
        for word in label.synonyms:
            tokens = context(fill(template, word))
            if tokens > length:
                yield Finding(
                    "too-long",
                    (label.name,),
                    f"{shown(word)} in its template has {tokens} tokens and the model reads "
                    f"{length} of them",
                    "say it in fewer words",
                )


def _own_vectors(texts: Texts, group: Group) -> Vectors:
    return embed_labels(texts, [label.synonyms[0] for label in group.labels], TEMPLATES[:1])


def _one_line(first: Label, second: Label) -> bool:
    """Say whether one of two labels descends from the other."""
    return first.name in ancestors(second.name) or second.name in ancestors(first.name)


def _cosines(texts: Texts, pairs: Sequence[tuple[str, str]]) -> Vectors:
    vectors = embed_labels(texts, [word for pair in pairs for word in pair], TEMPLATES[:1])
    cosines: Vectors = (vectors[::2] * vectors[1::2]).sum(axis=1)
    return cosines


def _close_pairs(vectors: Vectors, limit: float) -> list[tuple[float, int, int]]:
    """Return the `MOST_PAIRS` pairs of rows with the highest cosines above `limit`."""
    best: list[tuple[float, int, int]] = []
    bar = limit + _ROUNDING
    for start in range(0, len(vectors), _BLOCK):
        cosines = np.triu(vectors[start : start + _BLOCK] @ vectors[start:].T, 1)
        cells = np.flatnonzero(cosines > bar)
        if len(cells) > MOST_PAIRS:
            top = np.argpartition(cosines.flat[cells], -MOST_PAIRS)[-MOST_PAIRS:]
            cells = cells[top]
        for row, column in zip(*np.unravel_index(cells, cosines.shape), strict=True):
            pair = (float(cosines[row, column]), start + int(row), start + int(column))
            best.append(pair)
        best = sorted(best, key=lambda pair: (-pair[0], pair[1:]))[:MOST_PAIRS]
        if len(best) == MOST_PAIRS:
            bar = best[-1][0]
    return best
