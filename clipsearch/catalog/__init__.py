"""The catalogue: every line of SQL lives here and in migrations/.

`Catalog` holds the connections; the modules beside it hold functions that take one.
"""

from clipsearch.catalog.database import Catalog

__all__ = ["Catalog"]
