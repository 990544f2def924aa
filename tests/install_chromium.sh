#!/usr/bin/env bash
# Installs the Chromium that the browser tests drive: Debian's package where apt can, else playwright's own download.
# Where neither works the browser tests fail with a sentence; this script never fails the test run itself.
set -u
python=${1:-python3}
if command -v chromium >/dev/null || [ -x /usr/bin/chromium ]; then exit 0; fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null && exit 0
elif command -v apt-get >/dev/null && command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo apt-get update -qq && sudo apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null && exit 0
fi
"$python" -m playwright install chromium || echo "Chromium could not be installed; the browser tests will say so." >&2
exit 0
