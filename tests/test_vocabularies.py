from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clipsearch import prompts, vocabularies
from clipsearch.models.embedder import Vectors
from clipsearch.vocabularies import (
    Finding,
    Group,
    Label,
    Vocabulary,
    VocabularyError,
    ancestors,
    check,
    synonym_limit,
)
from clipsearch.vocabularies.checking import RELATED, SYNONYMS
from tests.fakes import ColourEmbedder

ANIMALS = """
name = "my animals"
templates = ["a photo of a {}.", "{}"]

[group.animals]
choose = "any"
background = ["something else"]
labels = [
    "animal/dog",   # a comment
    { name = "animal/cat", synonyms = ["kitten", "Cat"], threshold = 0.6, templates = ["a {}."] },
]

[group.weather]
choose = "one"
background = ["a room"]
labels = ["sun", "rain"]
"""


def write(folder: Path, text: str | bytes, name: str = "words.toml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def failure(path: Path) -> str:
    with pytest.raises(VocabularyError) as error:
        vocabularies.read(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 500 + len(str(path))
    return message.removeprefix(str(path))


def one_group(*labels: str, choose: str = "any", background: Sequence[str] = ()) -> Vocabulary:
    items = tuple(Label(name, (name.rpartition("/")[2],)) for name in labels)
    group = Group("g", "one" if choose == "one" else "any", items, tuple(background))
    return Vocabulary("v", (group,), ("a photo of a {}.",))


def colours(texts: Sequence[str]) -> Vectors:
    """Colours, also at the end of a sentence."""
    return ColourEmbedder().texts([text.replace(".", "") for text in texts])


def cosines(texts: prompts.Texts, pairs: Sequence[tuple[str, str]]) -> Vectors:
    first, second = (
        prompts.embed_labels(texts, [pair[side] for pair in pairs], prompts.TEMPLATES[:1])
        for side in (0, 1)
    )
    product: Vectors = (first * second).sum(axis=1)
    return product


def outcome(path: Path) -> Vocabulary | str:
    """Read a vocabulary, or return the message of the only error that may escape."""
    try:
        return vocabularies.read(path)
    except VocabularyError as error:
        return str(error)


def kinds(findings: Sequence[Finding]) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.kind, finding.labels) for finding in findings]


# Reading


def test_toml_has_groups_synonyms_thresholds_and_templates(tmp_path: Path) -> None:
    vocabulary = vocabularies.read(write(tmp_path, ANIMALS))
    assert vocabulary == Vocabulary(
        "my animals",
        (
            Group(
                "animals",
                "any",
                (
                    Label("animal/dog", ("dog",)),
                    Label("animal/cat", ("cat", "kitten"), 0.6, ("a {}.",)),
                ),
                ("something else",),
            ),
            Group(
                "weather", "one", (Label("sun", ("sun",)), Label("rain", ("rain",))), ("a room",)
            ),
        ),
        ("a photo of a {}.", "{}"),
    )
    assert [label.name for label in vocabulary.labels] == [
        "animal/dog",
        "animal/cat",
        "sun",
        "rain",
    ]


def test_text_has_one_label_a_line(tmp_path: Path) -> None:
    text = "\ufeff# pets\r\nanimal/dog = puppy,  hound # tail\r\n\r\n  beach \rc#\n"
    vocabulary = vocabularies.read(write(tmp_path, text, "pets.txt"))
    labels = (
        Label("animal/dog", ("dog", "puppy", "hound")),
        Label("beach", ("beach",)),
        Label("c#", ("c#",)),
    )
    assert vocabulary == Vocabulary("pets", (Group("labels", "any", labels),), prompts.TEMPLATES)


def test_the_example_in_the_documentation_works(tmp_path: Path) -> None:
    document = vocabularies.__doc__ or ""
    blocks = document.split("    name =", 1)
    toml = "name =" + "\n".join(
        line.removeprefix("    ") for line in blocks[1].split("\n`animal/dog`")[0].splitlines()
    )
    vocabulary = vocabularies.read(write(tmp_path, toml))
    assert [group.choose for group in vocabulary.groups] == ["any", "one"]
    text = document.split("behind `=`:\n")[1].split("A TOML file")[0]
    assert len(vocabularies.read(write(tmp_path, text, "a.txt")).labels) == 3


def test_names_are_tidied(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    text = f"  place /  {decomposed}   terrace =  x  y "
    vocabulary = vocabularies.read(write(tmp_path, text, "a.txt"))
    assert vocabulary.labels == (Label("place/café terrace", ("café terrace", "x y")),)


def test_a_label_implies_its_parents() -> None:
    assert ancestors("animal/bird/owl") == ("animal", "animal/bird")
    assert ancestors("beach") == ()


def test_a_hundred_thousand_labels_are_read(tmp_path: Path) -> None:
    lines = "\n".join(f"group {n % 99}/label {n} = other {n}" for n in range(100_000))
    assert len(vocabularies.read(write(tmp_path, lines, "a.txt")).labels) == 100_000


# Errors


def label_entry(entry: str) -> str:
    return f'[group.animals]\nlabels = ["fish", {entry}]'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[group.animals]\nlabels = [dog]", ", line 2, column 11: this is not TOML, invalid value"),
        ('[group.animals]\nlabels = ["dog"\n\n', ", line 2: this is not TOML, unclosed array"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = " + "1" * 5000, ", line 1: a number has more than 200 digits"),
        (label_entry('{name = "a", threshold = 0x' + "f" * 5000 + "}"), ", line 2: a number has"),
        ("[a]\nx" + ".a" * 10_000 + " = 1", ", line 2: a key has more than 8 dots"),
        ("a = '''\n\n'''\n[a" + " . 'b.c'" * 9 + "]", ", line 4: a key has more than 8 dots"),
        (label_entry("{a" + '."b"' * 9 + " = 1}"), ", line 2: a key has more than 8 dots"),
        ("a\0 = 1", ", line 1: a NUL character"),
        (b"# \xe9\n", ", line 1: not UTF-8"),
        ("", "there is no label"),
        ("[group]", "there is no label"),
        ("group = 1", "group must be a table"),
        ("[group]\nanimals = ['dog']", 'group "animals": a group is a table'),
        ('template = ["{}"]', 'unknown key "template"; did you mean "templates"?'),
        ("xyzzy = 1", 'unknown key "xyzzy"; the known keys are name, templates, group'),
        ("[group.a]\nchose = 'one'", 'group "a": unknown key "chose"; did you mean "choose"?'),
        (label_entry('{name = "a", synonym = ["b"]}'), 'did you mean "synonyms"?'),
        ("name = 3", "name must be a text in quotes, not a number"),
        ("name = ' '", "name is empty"),
        ("[group.a]", "there are no labels"),
        ("[group.a]\nlabels = []", 'group "a": there are no labels'),
        ("[group.a]\nlabels = 'dog'", "labels must be a list, not a text"),
        ("[group.' ']\nlabels = ['dog']", "the name of the group is empty"),
        ("[group.a]\nchoose = 'two'\nlabels = ['dog']", 'choose is "two"; write choose = "one"'),
        ("[group.a]\nchoose = true\nlabels = ['dog']", "choose is true or false"),
        ("[group.a]\nbackground = 'x'\nlabels = ['dog']", "background must be a list"),
        ("[group.a]\nbackground = ['']\nlabels = ['dog']", "background 1 is empty"),
        ("[group.a]\nchoose = 'one'\nlabels = ['dog']", 'add background = ["something else"]'),
        (label_entry('""'), 'group "animals", label 2: the label is empty'),
        (label_entry('"\\u200b"'), "the label is empty"),
        (label_entry('"animal//dog"'), 'a part of the label "animal//dog" is empty'),
        (label_entry('"/"'), 'a part of the label "/" is empty'),
        (label_entry("7"), "not a number"),
        (label_entry("2020-01-01"), "not a date or a time"),
        (label_entry('["dog"]'), "not a list"),
        (label_entry('{synonyms = ["x"]}'), "the label has no name"),
        (label_entry("{name = {}}"), "the label must be a text in quotes, not a table"),
        (label_entry('{name = "a", synonyms = "b"}'), "synonyms must be a list, not a text"),
        (label_entry('{name = "a", synonyms = ["b", ""]}'), "synonym 2 is empty"),
        (label_entry('{name = "a", synonyms = [1]}'), "synonym 1 must be a text"),
        (label_entry('"FISH"'), 'the label "FISH" is in group "animals", label 1 already'),
        (label_entry('"a\\u0000b"'), 'a control character ("a?b")'),
        (label_entry(f'"{"x" * 5000}"'), "the label has 5,000 characters, more than 200"),
        (label_entry('{name = "a", threshold = 1.5}'), "threshold is 1.5"),
        (label_entry('{name = "a", threshold = nan}'), "threshold is nan"),
        (label_entry('{name = "a", threshold = -1}'), "threshold is -1"),
        (label_entry('{name = "a", threshold = true}'), "threshold must be a number"),
        (label_entry('{name = "a", threshold = "1"}'), "threshold must be a number, not a text"),
        (label_entry('{name = "a", templates = ["no place"]}'), 'the template "no place" has {}'),
        (label_entry('{name = "a", templates = []}'), "templates is empty"),
        ('templates = ["{} {}"]', "2 times"),
        ("templates = [3]", "template 1 must be a text"),
        ("templates = '{}'", "templates must be a list"),
    ],
)
def test_what_is_wrong_in_a_toml_file_is_told_in_a_sentence(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    assert said in failure(write(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "there is no label"),
        ("# nothing\n", "there is no label"),
        ("dog\n= puppy", ", line 2: the label is empty"),
        ("dog =", ", line 1: synonym 1 is empty"),
        ("dog\n\nDog = puppy", ', line 3: the label "Dog" is in line 1 already'),
        ("a\n" + "x" * 201, ", line 2: the label has 201 characters"),
        ("a\nb\x1b[31m", ", line 2: the label has a control character"),
        ("a\nb\0", ", line 2: a NUL character"),
        (b"a\n\xff\xfe", ", line 2: not UTF-8"),
    ],
)
def test_what_is_wrong_in_a_text_file_is_told_in_a_sentence(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    assert said in failure(write(tmp_path, content, "a.txt"))


def test_a_name_that_is_no_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    assert "no such file" in failure(tmp_path / "missing.toml")
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert "a folder" in failure(folder)
    with pytest.raises(VocabularyError, match="no file can have this name"):
        vocabularies.read("a\0.toml")


CALM = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def test_dots_and_digits_that_are_no_key_and_no_number_are_welcome(tmp_path: Path) -> None:
    dots, digits = ".a" * 90, "1" * 180
    entries = ", ".join(f'{{name = "x{place}", threshold = 0.5}}' for place in range(20))
    path = write(
        tmp_path,
        f"# x{dots} = {digits * 9} ''' \" \n"
        f'[group."a{dots}"]\n'
        f"labels = ['x{dots}', "
        f'"""y\\""{dots}""", \'\'\'\nz\'{dots}\'\'\', "{digits}", {entries}]\n',
    )
    assert [label.name for label in vocabularies.read(path).labels][:4] == [
        f"x{dots}",
        f'y""{dots}',
        f"z'{dots}",
        digits,
    ]


@CALM
@given(content=st.binary() | st.text().map(str.encode), suffix=st.sampled_from([".toml", ".txt"]))
@example(content=b"a = 99999-99-99", suffix=".toml")
@example(content=b"a\xc2\x85b", suffix=".txt")
def test_any_bytes_are_a_vocabulary_or_an_error(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    path = write(tmp_path, content, f"fuzz{suffix}")
    result = outcome(path)
    assert result.labels if isinstance(result, Vocabulary) else "\n" not in result


JUNK = st.recursive(
    st.booleans() | st.integers() | st.sampled_from(["", "{}", "a", "one"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "labels", "choose", "templates", "threshold", "x"]), inner
        )
    ),
)


def inline(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(map(inline, value))}]"
        case dict():
            return "{" + ", ".join(f"{key} = {inline(item)}" for key, item in value.items()) + "}"
        case str():
            return f'"{value}"'
    return str(value)


@CALM
@given(key=st.sampled_from(["name", "templates", "group", "group.a.labels", "group.a"]), value=JUNK)
def test_any_toml_is_a_vocabulary_or_an_error(tmp_path: Path, key: str, value: object) -> None:
    path = write(tmp_path, f"{key} = {inline(value)}")
    result = outcome(path)
    assert result.labels if isinstance(result, Vocabulary) else "\n" not in result


# Laws

WORD = (
    st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lambda text: "/" not in text)
)
TEMPLATE = WORD.map(lambda word: f"{word.replace('{', '')} {{}}")


@st.composite
def vocabulary_values(draw: st.DrawFn) -> Vocabulary:
    names = draw(
        st.lists(
            st.lists(WORD, min_size=1, max_size=3).map("/".join),
            min_size=2,
            max_size=8,
            unique_by=str.casefold,
        )
    )
    labels = []
    for name in names:
        own = name.rpartition("/")[2]
        others = draw(st.lists(WORD, max_size=2, unique_by=str.casefold))
        labels.append(
            Label(
                name,
                (own, *(word for word in others if word.casefold() != own.casefold())),
                draw(st.none() | st.floats(0, 1)),
                tuple(draw(st.lists(TEMPLATE, max_size=2))),
            )
        )
    cut = draw(st.integers(1, len(labels) - 1))
    titles = draw(st.lists(WORD, min_size=2, max_size=2, unique=True))
    groups = tuple(
        Group(
            title,
            draw(st.sampled_from(["one", "any"])),
            part,
            tuple(draw(st.lists(WORD, min_size=1, max_size=2))),
        )
        for title, part in zip(titles, (tuple(labels[:cut]), tuple(labels[cut:])), strict=True)
    )
    templates = tuple(draw(st.lists(TEMPLATE, min_size=1, max_size=2)))
    return Vocabulary(draw(WORD), groups, templates)


@CALM
@given(vocabulary_values())
def test_what_is_written_is_read_again(tmp_path: Path, vocabulary: Vocabulary) -> None:
    read = vocabularies.read(write(tmp_path, vocabularies.to_toml(vocabulary)))
    assert read == vocabulary
    assert read.hash == vocabulary.hash


@given(vocabulary_values())
def test_the_hash_does_not_depend_on_the_layout(vocabulary: Vocabulary) -> None:
    turned = replace(
        vocabulary,
        name="another name",
        groups=tuple(
            replace(group, labels=group.labels[::-1]) for group in vocabulary.groups[::-1]
        ),
    )
    assert turned.hash == vocabulary.hash


def test_the_hash_does_not_depend_on_comments_and_spaces(tmp_path: Path) -> None:
    compact = """templates=['a photo of a {}.','{}']
[group]
weather={choose='one',background=['a room'],labels=['rain','sun']}
[group.animals]
background=['something  else']
labels=[{templates=['a {}.'],threshold=0.60,name='animal/cat',synonyms=['kitten']},'animal/dog']
"""
    loose, tight = write(tmp_path, ANIMALS, "a.toml"), write(tmp_path, compact, "b.toml")
    assert vocabularies.read(loose).hash == vocabularies.read(tight).hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kitten", "kitty"),
        ("0.6", "0.61"),
        ('"a {}."', '"the {}."'),
        ('"{}"', '"the {}"'),
        ('["a room"]', '["a hall"]'),
        ('"one"', '"any"'),
        ('"rain"', '"snow"'),
    ],
)
def test_the_hash_depends_on_what_decides(tmp_path: Path, old: str, new: str) -> None:
    before, after = write(tmp_path, ANIMALS, "a.toml"), write(tmp_path, ANIMALS.replace(old, new))
    assert vocabularies.read(before).hash != vocabularies.read(after).hash


# Embedding


def test_every_synonym_is_embedded_with_the_templates_of_its_label() -> None:
    labels = (
        Label("a", ("red", "green")),
        Label("b", ("blue",), templates=("yellow {}",)),
        Label("c", ("black",)),
    )
    vocabulary = Vocabulary("v", (Group("g", "any", labels),), ("{}", "{} white"))
    texts = colours
    vectors, owners = vocabularies.embed(texts, vocabulary)
    assert owners.tolist() == [0, 0, 1, 2]
    expected = np.concatenate(
        [
            prompts.embed_labels(texts, ["red", "green"], ("{}", "{} white")),
            prompts.embed_labels(texts, ["blue"], ("yellow {}",)),
            prompts.embed_labels(texts, ["black"], ("{}", "{} white")),
        ]
    )
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


# The check


def test_labels_that_the_model_takes_for_one_are_told_closest_first() -> None:
    vocabulary = one_group("orange red", "red", "red and orange", "blue")
    findings = check(vocabulary, colours, limit=0.9)
    assert [finding.labels for finding in findings] == [
        ("orange red", "red and orange"),
        ("orange red", "red"),
        ("red", "red and orange"),
    ]
    assert findings[0].fix.startswith('make "red and orange" a synonym of "orange red"')
    assert "limit 0.90" in findings[0].message


def test_a_label_may_be_close_to_its_parent_and_to_another_group() -> None:
    texts = colours
    assert check(one_group("red", "red/dark red"), texts, limit=0.9) == []
    group = one_group("red dog").groups[0]
    two = Vocabulary("v", (group, *one_group("red cat").groups), ("{}",))
    assert check(two, texts, limit=0.9) == []


def test_only_the_closest_pairs_are_told_of_a_large_group(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(700, 4)).astype(np.float32)
    vectors = raw / np.linalg.norm(raw, axis=1, keepdims=True)

    def texts(asked: Sequence[str]) -> Vectors:
        rows: Vectors = vectors[[int(text.split()[-1].rstrip(".")) for text in asked]]
        return rows

    cosines = np.triu(vectors @ vectors.T, 1)
    best = np.sort(cosines[cosines > 0.9])[::-1]
    vocabulary = one_group(*map(str, range(700)))
    told = check(vocabulary, texts, limit=0.9)
    assert len(told) == min(len(best), 1000)
    pairs = [(int(first), int(second)) for first, second in (finding.labels for finding in told)]
    np.testing.assert_allclose([cosines[pair] for pair in pairs], best[:1000], atol=1e-6)


def test_an_exclusive_group_needs_a_background() -> None:
    texts = colours
    bare = one_group("red", "blue", choose="one")
    (finding,) = check(bare, texts, limit=0.9)
    assert (finding.kind, finding.labels) == ("no-background", ("red", "blue"))
    assert finding.fix == 'add background = ["something else"] to [group.g]'
    assert check(one_group("red", "blue", choose="one", background=["x"]), texts, limit=0.9) == []
    assert check(one_group("red", "blue"), texts, limit=0.9) == []


def test_a_word_that_stands_for_two_labels_is_told() -> None:
    labels = (Label("red", ("red", "Rouge")), Label("blue", ("blue", "rouge")))
    vocabulary = Vocabulary("v", (Group("g", "any", labels, ("Blue",)),), ("{}",))
    findings = check(vocabulary, colours, limit=0.9)
    assert kinds(findings) == [("duplicate", ("blue",)), ("duplicate", ("red", "blue"))]
    assert all(finding.fix for finding in findings)


def test_two_labels_with_the_same_own_words_are_told_once() -> None:
    findings = check(one_group("fruit/orange", "paint/orange"), colours, limit=0.9)
    assert kinds(findings) == [("duplicate", ("fruit/orange", "paint/orange"))]


def test_labels_beyond_the_context_are_told_where_tokens_can_be_counted() -> None:
    vocabulary = one_group("red", "one two three four")
    texts = colours
    assert check(vocabulary, texts, limit=0.99) == []
    (finding,) = check(
        vocabulary, texts, limit=0.99, context=lambda text: len(text.split()), context_length=7
    )
    assert finding.kind == "too-long"
    assert finding.labels == ("one two three four",)
    assert "8 tokens" in finding.message


def test_the_limit_lies_between_synonyms_and_related_words_that_the_model_separates() -> None:
    same = {word: rank for rank, pair in enumerate(SYNONYMS) for word in pair}

    def texts(asked: Sequence[str]) -> Vectors:
        """Give words of a pair of synonyms an axis in common, and all words half their length."""
        rows = np.zeros((len(asked), 1000), np.float32)
        for row, text in enumerate(asked):
            word = text.removeprefix("a photo of a ").rstrip(".")
            rows[row, [0, 1 + same.get(word, 100 + sum(word.encode()) % 800)]] = np.sqrt(0.5)
        return rows

    assert 0.5 < synonym_limit(texts) < 1


def test_a_model_that_cannot_tell_words_apart_finds_no_synonyms() -> None:
    def blind(asked: Sequence[str]) -> Vectors:
        return colours(["grey"] * len(asked))

    limit = synonym_limit(blind)
    assert limit == pytest.approx(1)
    assert check(one_group("a", "b"), blind, limit=limit) == []


# What ships


def test_the_default_vocabulary_is_large_and_sorted_into_groups() -> None:
    vocabulary = vocabularies.default()
    assert len(vocabulary.labels) >= 300
    assert vocabulary.templates == prompts.TEMPLATES
    assert {
        "people",
        "animals",
        "places",
        "landscapes",
        "activities",
        "events",
        "food",
        "objects",
        "weather",
        "light",
        "document",
        "screenshot",
    } <= {group.name for group in vocabulary.groups}
    assert all(group.background for group in vocabulary.groups)


def test_no_word_of_the_default_vocabulary_stands_for_two_labels() -> None:
    words = [w.casefold() for label in vocabularies.default().labels for w in label.synonyms]
    assert len(words) == len(set(words))


def test_the_default_vocabulary_passes_its_check_under_the_starter() -> None:
    registry = pytest.importorskip("clipsearch.models.registry")
    texts = registry.load("starter").texts
    limit = synonym_limit(texts)
    same, related = cosines(texts, SYNONYMS), cosines(texts, RELATED)
    assert (same > limit).mean() > 0.7
    assert (related > limit).mean() < 0.1
    findings = check(vocabularies.default(), texts, limit=limit)
    # What a small text model finds alike and people tell apart at a glance.
    assert {finding.labels for finding in findings} <= {
        ("home/living room", "home/bedroom"),
        ("home/corridor", "home/staircase"),
        ("animal/sheep", "animal/goat"),
        ("season/spring", "season/summer"),
        ("season/summer", "season/autumn"),
        ("season/autumn", "season/winter"),
        ("light/twilight", "light/night"),
        ("food/fruit/grapes", "drink/wine"),
        ("people/group photo", "people/crowd"),
        ("people/child/baby", "people/child/toddler"),
        ("document/identity card", "document/business card"),
    }
