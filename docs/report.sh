#!/bin/sh
# Has an exercise run by itself and takes a picture of its report, as high as it says. Needs lab in the PATH, and chromium.
#   docs/report.sh partitions 640 > docs/report.png
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
lab learn "$1" --auto --html "$place/report.html" >&2
# Its sandbox is not for root, who has no need of it for a page of our own.
[ "$(id -u)" -ne 0 ] || sandbox=--no-sandbox
chromium --headless --disable-gpu --hide-scrollbars ${sandbox-} --user-data-dir="$place/profile" \
    --window-size="960,$2" --screenshot="$place/report.png" "file://$place/report.html" >"$place/log" 2>&1 ||
    { cat "$place/log" >&2; exit 1; }
cat "$place/report.png"
