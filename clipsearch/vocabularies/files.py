"""Vocabularies in files: TOML, and plain text with one label a line."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clipsearch.errors import TextError, VocabularyError
from clipsearch.prompts import TEMPLATES, fill, printable, read_text, shown
from clipsearch.resources import folder
from clipsearch.vocabularies.values import Choose, Group, Label, Vocabulary, own_words

LONGEST = 200  # characters of a label
DEEPEST = 8  # dots of a key in TOML; a vocabulary needs one
MOST_DIGITS = 200

_AT = re.compile(r"(?P<what>.*) \(at (line (?P<line>\d+), column (?P<column>\d+)|.*)\)", re.DOTALL)
_COMMENT = re.compile(r"(^|\s)#.*")
# Strings and comments come first, so that what they hold is no key and no number. Nothing here
# goes back over what it has read: the time is linear in the text, whatever it holds.
_STRING = r"""
    "{3} (?: [^"\\] | \\. | "(?!"") )*+ (?: "{3} | \Z )
  | '{3} (?: [^'] | '(?!'') )*+ (?: '{3} | \Z )
  | " (?: [^"\\\n] | \\[^\n] )*+ "?
  | ' [^'\n]*+ '?
"""
_LINK = rf"\. [ \t]*+ (?: [\w-]++ | {_STRING} ) [ \t]*+"
_COSTLY = re.compile(
    rf"{_STRING} | \#[^\n]*+ | (?P<key> (?:{_LINK}){{{DEEPEST + 1},}}+ ) | (?P<number> [0-9]\w*+ )",
    re.VERBOSE | re.DOTALL,
)
_UNFIT = ("Cc", "Cs")  # control characters and lone surrogates


def read(path: str | os.PathLike[str]) -> Vocabulary:
    """Read a vocabulary: TOML where the name ends so, else text with one label a line.

    Raises: VocabularyError with the file, the place in it, and what to do.
    """
    name = printable(str(path))
    try:
        text = read_text(path)
    except TextError as error:
        raise VocabularyError(str(error)) from error
    stem = " ".join(printable(Path(path).stem).split())[:LONGEST] or "labels"
    if Path(path).suffix.lower() == ".toml":
        return _from_toml(text, name, stem)
    return _from_lines(text, name, stem)


def default() -> Vocabulary:
    """Return the vocabulary for personal photos that ships with clipsearch."""
    return read(folder("data") / "vocabulary.toml")


def to_toml(vocabulary: Vocabulary) -> str:
    """Write a vocabulary as TOML that `read` understands as the same vocabulary."""
    lines = [
        f"name = {_quoted(vocabulary.name)}",
        f"templates = {_list(vocabulary.templates)}",
    ]
    for group in vocabulary.groups:
        lines += ["", f"[group.{_quoted(group.name)}]", f"choose = {_quoted(group.choose)}"]
        if group.background:
            lines.append(f"background = {_list(group.background)}")
        lines += ["labels = [", *(f"    {_entry(label)}," for label in group.labels), "]"]
    return "\n".join(lines) + "\n"


def _from_lines(text: str, file: str, stem: str) -> Vocabulary:
    labels: list[Label] = []
    seen: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        content = (_COMMENT.sub("", line) if "#" in line else line).strip()
        if not content:
            continue
        where = f"{file}, line {number}"
        name, equals, others = content.partition("=")
        synonyms = others.split(",") if equals else []
        labels.append(_label(name, synonyms, where, seen, f"line {number}"))
    if not labels:
        raise VocabularyError(f"{file}: there is no label in the file; write one a line")
    return Vocabulary(stem, (Group("labels", "any", tuple(labels)),), TEMPLATES)


def _from_toml(text: str, file: str, stem: str) -> Vocabulary:
    content = _parse(text, file)
    _known(content, ("name", "templates", "group"), file)
    name = _words(content["name"], file, "name") if "name" in content else stem
    templates = _templates(content, file) or TEMPLATES
    tables = content.get("group", {})
    if not isinstance(tables, dict):
        raise VocabularyError(f"{file}: group must be a table; write [group.animals]")
    if not tables:
        raise VocabularyError(f"{file}: there is no label; write [group.animals] and its labels")
    seen: dict[str, str] = {}
    groups = tuple(_group(key, table, file, seen) for key, table in tables.items())
    return Vocabulary(name, groups, templates)


def _parse(text: str, file: str) -> dict[str, Any]:
    _refuse_costly(text, file)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise VocabularyError(
            f"{file}: the brackets are nested too deeply; untangle them"
        ) from None
    except ValueError as error:  # also numbers beyond what Python reads, which are no decode errors
        message = printable(str(error))
        where, what = file, message
        if at := _AT.fullmatch(message):
            what = at["what"]
            line = at["line"] or len(text.rstrip("\n").split("\n"))
            column = f", column {at['column']}" if at["column"] else ""
            where = f"{file}, line {line}{column}"
        what = what[:1].lower() + what[1:]
        raise VocabularyError(f"{where}: this is not TOML, {what}; correct it there") from error


def _refuse_costly(text: str, file: str) -> None:
    """Refuse keys that `tomllib` needs quadratic time and memory for, and endless numbers."""
    for found in _COSTLY.finditer(text):
        if found["number"] and len(found["number"]) > MOST_DIGITS:
            what = f"a number has more than {MOST_DIGITS} digits; shorten it"
        elif found["key"]:
            what = f"a key has more than {DEEPEST} dots; put a name with dots in quotes"
        else:
            continue
        line = text.count("\n", 0, found.start()) + 1
        raise VocabularyError(f"{file}, line {line}: {what}")


def _group(key: str, table: object, file: str, seen: dict[str, str]) -> Group:
    where = f"{file}, group {shown(key)}"
    if not isinstance(table, dict):
        raise VocabularyError(f"{where}: a group is a table; write [group.{printable(key)[:60]}]")
    name = _words(key, where, "the name of the group")
    _known(table, ("choose", "background", "labels"), where)
    choose = _choose(table.get("choose", "any"), where)
    background = tuple(
        _words(entry, where, f"background {number}")
        for number, entry in enumerate(_array(table, "background", where), start=1)
    )
    entries = _array(table, "labels", where)
    if not entries:
        raise VocabularyError(f'{where}: there are no labels; write labels = ["dog", "cat"]')
    place = f"group {shown(key)}"
    labels = tuple(
        _entry_label(entry, f"{where}, label {number}", seen, f"{place}, label {number}")
        for number, entry in enumerate(entries, start=1)
    )
    if choose == "one" and len(labels) == 1 and not background:
        raise VocabularyError(
            f'{where}: choose = "one" between a single label and nothing gives it to every photo; '
            'add background = ["something else"] or a second label'
        )
    return Group(name, choose, labels, background)


def _entry_label(entry: object, where: str, seen: dict[str, str], place: str) -> Label:
    if isinstance(entry, str):
        return _label(entry, (), where, seen, place)
    if not isinstance(entry, dict):
        raise VocabularyError(
            f"{where}: a label is a text or a table with a name, not {_kind(entry)}; "
            'write "dog" or { name = "dog", synonyms = ["hound"] }'
        )
    _known(entry, ("name", "synonyms", "threshold", "templates"), where)
    if "name" not in entry:
        raise VocabularyError(f'{where}: the label has no name; add name = "dog"')
    label = _label(entry["name"], _array(entry, "synonyms", where), where, seen, place)
    return replace(label, threshold=_threshold(entry, where), templates=_templates(entry, where))


def _label(
    raw: object, synonyms: Sequence[object], where: str, seen: dict[str, str], place: str
) -> Label:
    """Build a label; `seen` holds the place of every label before it by casefolded name."""
    parts = [part.strip() for part in _words(raw, where, "the label").split("/")]
    name = "/".join(parts)
    if not all(_visible(part) for part in parts):
        raise VocabularyError(
            f"{where}: a part of the label {shown(name)} is empty; "
            "write a name on either side of each /"
        )
    first = seen.setdefault(name.casefold(), place)
    if first is not place:
        raise VocabularyError(
            f"{where}: the label {shown(name)} is in {first} already; remove one of the two"
        )
    words = {own_words(name).casefold(): own_words(name)}
    for number, entry in enumerate(synonyms, start=1):
        word = _words(entry, where, f"synonym {number}")
        words.setdefault(word.casefold(), word)
    return Label(name, tuple(words.values()))


def _words(value: object, where: str, what: str) -> str:
    """Check a text that a model will read, and bring it to its canonical form."""
    if not isinstance(value, str):
        raise VocabularyError(f"{where}: {what} must be a text in quotes, not {_kind(value)}")
    words = " ".join(unicodedata.normalize("NFC", value).split())
    if not _visible(words):
        raise VocabularyError(f"{where}: {what} is empty; write a word, or remove it")
    if len(words) > LONGEST:
        raise VocabularyError(
            f"{where}: {what} has {len(words):,} characters, more than {LONGEST}; shorten it"
        )
    if not words.isprintable() and any(unicodedata.category(char) in _UNFIT for char in words):
        raise VocabularyError(
            f"{where}: {what} has a control character ({shown(words)}); remove it"
        )
    return words


def _visible(text: str) -> bool:
    if text.isprintable():  # quickly, for nearly all texts
        return bool(text.strip())
    return any(unicodedata.category(char)[0] not in "CZ" for char in text)


def _templates(table: Mapping[str, object], where: str) -> tuple[str, ...]:
    if "templates" not in table:
        return ()
    templates = _array(table, "templates", where)
    if not templates:
        raise VocabularyError(
            f'{where}: templates is empty; write templates = ["a photo of a {{}}."] or remove it'
        )
    found = []
    for number, value in enumerate(templates, start=1):
        template = _words(value, where, f"template {number}")
        try:
            fill(template, "")
        except TextError as error:
            raise VocabularyError(f"{where}: {error}") from error
        found.append(template)
    return tuple(found)


def _threshold(table: Mapping[str, object], where: str) -> float | None:
    if "threshold" not in table:
        return None
    value = table["threshold"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise VocabularyError(f"{where}: threshold must be a number, not {_kind(value)}")
    if not 0 <= value <= 1:  # also false for nan
        raise VocabularyError(
            f"{where}: threshold is {str(value)[:20]}; it is a probability, from 0 to 1"
        )
    return float(value)


def _choose(value: object, where: str) -> Choose:
    if value == "one":
        return "one"
    if value == "any":
        return "any"
    what = shown(value) if isinstance(value, str) else _kind(value)
    raise VocabularyError(f'{where}: choose is {what}; write choose = "one" or "any"')


def _array(table: Mapping[str, object], key: str, where: str) -> list[object]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise VocabularyError(f'{where}: {key} must be a list, not {_kind(value)}; write ["..."]')
    return value


def _known(table: Mapping[str, object], keys: Sequence[str], where: str) -> None:
    for key in table:
        if key not in keys:
            near = difflib.get_close_matches(key[:LONGEST], keys, 1)
            known = ", ".join(keys)
            fix = f'did you mean "{near[0]}"?' if near else f"the known keys are {known}"
            raise VocabularyError(f"{where}: unknown key {shown(key)}; {fix}")


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or a time"


def _entry(label: Label) -> str:
    fields = [f"name = {_quoted(label.name)}"]
    if others := label.synonyms[1:]:
        fields.append(f"synonyms = {_list(others)}")
    if label.threshold is not None:
        fields.append(f"threshold = {label.threshold!r}")
    if label.templates:
        fields.append(f"templates = {_list(label.templates)}")
    return _quoted(label.name) if len(fields) == 1 else f"{{ {', '.join(fields)} }}"


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's as well; DEL alone, which JSON leaves as it is, is no label's.
    return json.dumps(text, ensure_ascii=False)
