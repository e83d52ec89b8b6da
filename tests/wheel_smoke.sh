#!/usr/bin/env bash
# Build sdist and wheel, install the wheel alone in a bare environment, use it from elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

python3 -m venv "$scratch/build"
"$scratch/build/bin/pip" install --quiet --disable-pip-version-check build==1.6.1
"$scratch/build/bin/python" -m build --quiet --outdir "$scratch/dist" .
ls -l "$scratch/dist"

python3 -m venv "$scratch/bare"
"$scratch/bare/bin/pip" install --quiet --disable-pip-version-check "$scratch"/dist/*.whl
mkdir "$scratch/photos" "$scratch/elsewhere"
cd "$scratch/elsewhere"
export CLIPSEARCH_LIBRARY="$scratch/library" HF_HUB_OFFLINE=1
"$scratch/bare/bin/python" - "$scratch/photos" <<'PY'
import sys
from PIL import Image
for colour in ("red", "green", "blue"):
    Image.new("RGB", (320, 240), colour).save(f"{sys.argv[1]}/{colour}.jpg")
PY
"$scratch/bare/bin/clipsearch" --version
"$scratch/bare/bin/clipsearch" index "$scratch/photos" --model starter
"$scratch/bare/bin/clipsearch" search a red square --min-relevance 0 --json | grep -q '"total": 3'
"$scratch/bare/bin/clipsearch" similar 1 --paths
"$scratch/bare/bin/clipsearch" doctor
"$scratch/bare/bin/python" -c "
from importlib.resources import files
assert (files('clipsearch') / 'py.typed').is_file()
assert (files('clipsearch') / 'migrations' / '0001_catalog.sql').is_file()
assert (files('clipsearch') / 'web').is_dir()
import importlib.util
assert importlib.util.find_spec('pytest') is None, 'the environment is not bare'
"
echo "the wheel works alone"
