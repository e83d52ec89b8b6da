"""Run the command line as `python -m clipsearch`."""

from clipsearch.cli import main

main()
