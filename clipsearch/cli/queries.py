"""Queries as they come from a shell: terms that begin with a minus, quotes that it took away."""

from __future__ import annotations

import re

import click

# Stands before a term like -people while click looks for options.
_SHIELD = "\0"


class QueryCommand(click.Command):
    """A command whose arguments may begin with a minus that is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_shielded(arg) for arg in args])


def _shielded(arg: str) -> str:
    is_term = re.match(r"-[^-]", arg) and not re.fullmatch(r"-k(\d+)?|-o|-h", arg)
    return _SHIELD + arg if is_term else arg


def query_text(words: tuple[str, ...]) -> str:
    """Join the words of the shell to one query; `-"red ball"` reaches us without its quotes."""
    plain = [word.removeprefix(_SHIELD) for word in words]
    if len(plain) == 1:
        return plain[0]
    return " ".join(
        re.sub(r'^([+-]?(?:[\d.]+:)?)([^"\s][^"]*\s[^"]*)$', r'\1"\2"', word)
        if re.match(r"[+-]|[\d.]+:", word)
        else word
        for word in plain
    )
