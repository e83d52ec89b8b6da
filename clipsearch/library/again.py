"""Ask again where an index file or a photo goes while a question is answered."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from clipsearch.errors import DamagedIndexError
from clipsearch.records import SearchResult

_TRIES = 3  # while other processes drop photos that a search is about to show
Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


class DroppedError(Exception):
    """Another process dropped a photo since the index was read."""


def undamaged(ask: Callable[Asked, Answer]) -> Callable[Asked, Answer]:
    """Ask once more where a part of the index file, read only now, is damaged."""

    @wraps(ask)
    def asked_again(*args: Asked.args, **options: Asked.kwargs) -> Answer:
        try:
            return ask(*args, **options)
        except DamagedIndexError:
            args[0]._space.forget_index()  # type: ignore[attr-defined]
            return ask(*args, **options)

    return asked_again


def settled(ask: Callable[[bool], SearchResult]) -> SearchResult:
    """Ask again where photos are dropped meanwhile; at last, take what is left of an answer.

    `ask` is told whether the answer is to be whole, and raises DroppedError where it is not.
    """
    for _ in range(_TRIES):
        try:
            return ask(True)
        except DroppedError:
            continue
    return ask(False)
