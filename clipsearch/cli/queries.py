"""Queries as they come from a shell: terms that begin with a minus, quotes that it took away."""

from __future__ import annotations

import re

import click

from clipsearch.query import KEYS

# Stands before a term like -people while click looks for options.
_SHIELD = "\0"

_FILTER = re.compile(rf"(?P<key>[+-]?(?:{'|'.join(KEYS)}):)(?P<values>.*)", re.I | re.S)
_TERM = re.compile(r"(?P<sign>[+-](?:[\d.]+:)?|[\d.]+:)(?P<words>\S.*)", re.S)
_COMMA = re.compile(r",(?!\s)")


class QueryCommand(click.Command):
    """A command whose arguments may begin with a minus that is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        takes_value = {
            name
            for option in self.params
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        before = ["", *args]
        shielded = [
            arg if last in takes_value else _shielded(arg)
            for last, arg in zip(before, args, strict=False)
        ]
        rest = super().parse_args(ctx, shielded)
        for name, value in ctx.params.items():
            if isinstance(value, str):
                ctx.params[name] = value.removeprefix(_SHIELD)
        return rest


def _shielded(arg: str) -> str:
    is_term = re.match(r"-[^-]", arg) and not re.fullmatch(r"-k(\d+)?|-o|-h", arg)
    return _SHIELD + arg if is_term else arg


def query_text(words: tuple[str, ...]) -> str:
    """Join the words of the shell to one query; `-"red ball"` reaches us without its quotes.

    One word alone is the whole query, quotes and all. Of several, each is a term, a filter or a
    part of the phrase.
    """
    plain = [word.removeprefix(_SHIELD) for word in words]
    return plain[0] if len(plain) == 1 else " ".join(map(_quoted_again, plain))


def _quoted_again(word: str) -> str:
    if '"' in word or not re.search(r"\s", word):
        return word
    if match := _FILTER.fullmatch(word):
        # A comma before a blank belongs to a name, as in "Paris, Texas"; others mean or.
        values = _COMMA.split(match["values"])
        quoted = [f'"{value}"' if re.search(r"\s", value) else value for value in values]
        return match["key"] + ",".join(quoted)
    if match := _TERM.fullmatch(word):
        return f'{match["sign"]}"{match["words"]}"'
    return word
