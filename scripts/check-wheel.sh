#!/usr/bin/env bash
# Builds the wheel, installs it into a fresh environment beside the packages of .venv, and validates the manifest that it brings.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

.venv/bin/python -m build --wheel --outdir "$work/dist" . > "$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
wheel=$(echo "$work"/dist/*.whl)
printf '%s: %s KiB\n' "$(basename "$wheel")" "$(($(wc -c < "$wheel") / 1024))"

.venv/bin/python -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps "$wheel"
# The dependencies are those of .venv, but the package must be the wheel's: site-packages of the new environment come first.
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
own=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cd "$work"
export PYTHONPATH="$own:$site"
where=$("$work/venv/bin/python" -c 'import napari_virtual_paint; print(napari_virtual_paint.__file__)')
case "$where" in
    "$own"/*) ;;
    *) echo "The package was imported from $where, not from the wheel." >&2; exit 1 ;;
esac
"$work/venv/bin/python" -m npe2 validate napari-virtual-paint
"$work/venv/bin/python" -m npe2 validate "$own/napari_virtual_paint/napari.yaml"
"$work/venv/bin/virtual-paint" --version
"$work/venv/bin/virtual-paint" models list
