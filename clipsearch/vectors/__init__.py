"""The vector index: nearest neighbours by cosine. The only room that knows FAISS."""

from clipsearch.vectors.index import VectorIndex
from clipsearch.vectors.rows import LOWEST, ROUNDING

__all__ = ["LOWEST", "ROUNDING", "VectorIndex"]
