"""A library over HTTP: the page, the interface in JSON, and two formats of other programs."""

from clipsearch.service.app import create_app
from clipsearch.service.context import Service

__all__ = ["Service", "create_app"]
