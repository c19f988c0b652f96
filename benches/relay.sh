#!/usr/bin/env bash
# The relay beside stunnel and HAProxy (TCP mode) before the same echo LNS, in one run: memory
# of a held connection, added latency, CPU for a MB. Prints figures and ratios; asserts nothing.
# Needs the Debian packages stunnel4, haproxy and util-linux.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin
for program in stunnel4 haproxy taskset; do
    if ! command -v "$program" >/dev/null; then
        echo "benches/relay.sh: install the package $program" >&2
        exit 77
    fi
done
exec cargo bench --locked -p mtls-agent --bench relay
