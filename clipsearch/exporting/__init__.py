"""Tags and texts of photos as files: CSV, JSON, a contact sheet, folders to train with.

The writers know nothing of the catalogue: the rows come in as `Described`.
"""

from clipsearch.errors import ExportError
from clipsearch.exporting.contactsheet import write_html
from clipsearch.exporting.described import Described, TagScore, replacing
from clipsearch.exporting.describing import describe
from clipsearch.exporting.folders import FoldersReport, export_folders
from clipsearch.exporting.sidecars import SidecarReport, export_sidecars, take_back
from clipsearch.exporting.tables import escape_path, unescape_path, write_csv, write_json

__all__ = [
    "Described",
    "ExportError",
    "FoldersReport",
    "SidecarReport",
    "TagScore",
    "describe",
    "escape_path",
    "export_folders",
    "export_sidecars",
    "replacing",
    "take_back",
    "unescape_path",
    "write_csv",
    "write_html",
    "write_json",
]
