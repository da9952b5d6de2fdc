#!/bin/sh
# Compile one hashed, platform-independent lock per extra. `dev` is resolved first and holds every extra, the others
# are cut from it, so no two images run different versions. No file names an index: installers bring their own.
set -eu
cd "$(dirname "$0")/.."
export UV_CUSTOM_COMPILE_COMMAND="make lock"

compile() {  # compile OUTPUT [ARG...]
    output=$1; shift
    uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
        --no-annotate --no-emit-index-url --output-file "requirements/$output.txt" "$@"
}

compile dev --extra dev "$@"
for extra in scanner risk executor alerter console sandbox migrate replay recorder cli evaluate embedded all; do
    compile "$extra" --extra "$extra" --constraint requirements/dev.txt
done
echo 'hatchling' | uv pip compile - --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
    --no-emit-index-url --constraint requirements/dev.txt --output-file requirements/build.txt
