"""Searches with a name: albums that fill themselves."""

from __future__ import annotations

from collections.abc import Sequence

from clipsearch.catalog import saved
from clipsearch.errors import QueryError
from clipsearch.library.searching import Searching
from clipsearch.query import parse
from clipsearch.records import Hit, SavedSearch, Sort

LONGEST_NAME = 200
MOST_HITS = 1_000_000


class Saving(Searching):
    """Queries that are kept by name, and what is new in them."""

    def save_search(
        self,
        name: str,
        query: str,
        *,
        min_relevance: float | None = None,
        sort: Sort = "relevance",
    ) -> SavedSearch:
        """Keep a query by name; what it finds now counts as seen.

        Raises: QueryError for a query that cannot be answered, a name that is empty, too long
            or taken.
        """
        chosen = " ".join(name.split())
        if not chosen or len(chosen) > LONGEST_NAME:
            raise QueryError(f"a name has 1 to {LONGEST_NAME} characters", name, 0)
        if not chosen.isprintable():
            raise QueryError("a name has printable characters only", name, 0)
        parse(query)  # a file of this machine may be another one tomorrow
        seen = self._answering(query, min_relevance=min_relevance, sort=sort)
        with self._catalog.write() as db:
            if saved.get(db, chosen) is not None:
                raise QueryError(
                    f'a search named "{chosen}" is there already; remove it first', name, 0
                )
            saved.put(db, chosen, query, min_relevance, sort)
            saved.mark_seen(db, chosen, seen.tolist())
            return self.saved_search(chosen)

    def saved_searches(self) -> list[SavedSearch]:
        """List the saved searches by name."""
        with self._catalog.read() as db:
            return saved.all_of(db)

    def new_hits(self, name: str, *, keep: bool = False) -> tuple[Hit, ...]:
        """Return what a saved search finds and has not shown yet; then it counts as seen.

        With `keep`, it stays new.

        Raises: QueryError where no search has that name, or it cannot be answered any more.
        """
        wanted = self.saved_search(name)
        found = self.search(
            wanted.query,
            k=MOST_HITS,
            min_relevance=wanted.min_relevance,
            sort=wanted.sort,
            all_copies=True,
        )
        ids = [hit.id for hit in found.hits]
        with self._catalog.read() as db:
            new = saved.unseen(db, wanted.name, ids)
        if not keep:
            self.mark_seen(wanted.name, ids)
        return tuple(hit for hit in found.hits if hit.id in new)

    def mark_seen(self, name: str, ids: Sequence[int]) -> None:
        """Let photos count as shown by a saved search.

        Raises: QueryError where no search has that name.
        """
        with self._catalog.write() as db:
            saved.mark_seen(db, self.saved_search(name).name, ids)

    def forget_search(self, name: str) -> SavedSearch:
        """Forget a saved search, and return it, so that it can be saved again.

        Raises: QueryError where no search has that name.
        """
        with self._catalog.write() as db:
            wanted = self.saved_search(name)
            saved.remove(db, wanted.name)
        return wanted

    def saved_search(self, name: str) -> SavedSearch:
        """Return a saved search by its name, without regard to case.

        Raises: QueryError where no search has that name.
        """
        with self._catalog.read() as db:
            found = saved.get(db, " ".join(name.split()))
        if found is None:
            raise QueryError("no search is saved by this name", name, 0)
        return found
