#!/bin/sh
# Build the sdist and, from it, the wheel, and check both as a user would meet them:
#
#     sh docs/building/release.sh [FOLDER]      # FOLDER gets both files; default dist/
#
# 1. their metadata and the README render (twine)
# 2. the wheel holds every file of bp_arrays/ that git tracks, and nothing else
# 3. in a new environment, installed from the wheel: the command line trains on the digits, and the
#    tests in TESTS pass, run from a copy, where the source of the library is not
#
# It takes some minutes and a package index, so it is not part of the tests.
set -eu
cd "$(dirname "$0")/../.."
folder=$(mkdir -p "${1:-dist}" && cd "${1:-dist}" && pwd)
TESTS=${TESTS:-"tests/losses tests/explanation"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH

python3 -m venv "$work/build"
"$work/build/bin/pip" install --quiet build twine
rm -f "$folder"/bp_arrays-*
"$work/build/bin/python" -m build --outdir "$folder" .
"$work/build/bin/twine" check --strict "$folder"/bp_arrays-*

git ls-files bp_arrays | sort >"$work/tracked"
python3 -m zipfile -l "$folder"/bp_arrays-*.whl | awk '$1 ~ /^bp_arrays\// { print $1 }' | sort >"$work/packed"
diff "$work/tracked" "$work/packed"

python3 -m venv "$work/user"
"$work/user/bin/pip" install --quiet "$folder"/bp_arrays-*.whl pytest hypothesis
cp -r tests pyproject.toml "$work"
cd "$work"
user/bin/bp-arrays train digits --device cpu
# shellcheck disable=SC2086 # several folders
user/bin/python -m pytest --quiet --device cpu $TESTS
echo "ready: $(ls "$folder"/bp_arrays-*)"
