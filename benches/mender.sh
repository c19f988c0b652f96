#!/usr/bin/env bash
# Mender's own client beside the agent, in one run at one double: size, memory, wake-ups, octets,
# CPU. Writes docs/mender-footprint.md; takes five minutes. MTLS_MENDER_TARGET is where
# `tests/run mender` has unpacked the client (target).
set -euo pipefail
cd "$(dirname "$0")/.."
unpacked=${MTLS_MENDER_TARGET:-target}/mender-client
target=${CARGO_TARGET_DIR:-target}
page=docs/mender-footprint.md
if ! [ -e "$unpacked/version" ]; then
    echo "benches/mender.sh: run tests/run mender first, which fetches Mender's client" >&2
    exit 77
fi

cargo build --release --locked -p mtls-agent
strip -o "$target/mtls-agent.stripped" "$target/release/mtls-agent"
theirs=$(realpath "$unpacked/usr/bin/mender")
ours=$(realpath "$target/mtls-agent.stripped")

# What we would install, kB.
installed() {
    stat -c %s "$ours" systemd/mtls-agent-mender.service \
        systemd/mtls-agent-mender.conf |
        awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }'
}

# What Debian's essential packages need themselves.
everywhere='libc6|libgcc-s1|libblkid1|liblzma5|libmount1|libpcre2-8-0|libselinux1|zlib1g'

# Packages of the libraries of a program, but for those that every Debian has: kB and names.
libraries() {
    local packages kib
    packages=$(ldd "$1" | awk '$3 ~ /^\// { print "*" $3 }' |
        xargs -r dpkg -S 2>/dev/null | cut -d: -f1 | sort -u |
        grep -vxE "$everywhere" || true)
    if [ -z "$packages" ]; then
        echo 0
        return
    fi
    # shellcheck disable=SC2086 # a list of names
    kib=$(dpkg-query -W -f '${Installed-Size}\n' $packages | awk '{ sum += $1 } END { print sum }')
    echo "$kib ($(tr '\n' ' ' <<<"$packages" | sed 's/ $//; s/ /, /g'))"
}

said=$(MTLS_MENDER=$theirs MTLS_AGENT=$ours \
    cargo test --locked -p mtls-agent --test mender_footprint -- --ignored --nocapture) || {
    echo "$said"
    exit 1
}

{
    cat <<END
# What the agent weighs beside Mender's own client

Made by \`benches/mender.sh\` in one run; not by hand. Machine: $(uname -m), $(nproc) cores,
$(sed -n 's/^PRETTY_NAME="\(.*\)"$/\1/p' /etc/os-release). Mender's client: Debian's mender-client
$(cat "$unpacked/version"), unmodified. Ours: the release build, stripped.

Both are the daemon of one device with a P-256 key behind the double of the ambassador, one after
the other, with bus and forwarder on and Mender's usual intervals. Each request is a fresh
connection over TLS 1.3; octets are those of TCP, TLS included. A cycle: the server ends the
token and the program is told to look. Theirs (SIGUSR1) asks for updates, is refused, gets another
token and asks again; ours (\`refresh\`) gets another token, sends its inventory and asks for
updates. CPU is that of the daemon without its scripts. Octets and CPU are means of ten cycles.

| | mender-client $(cut -d+ -f1 "$unpacked/version") | mtls-agent |
|---|---|---|
| installed, kB (theirs: Installed-Size; ours: program, unit, bus policy) | $(cat "$unpacked/installed-kib") | $(installed) |
| program, octets | $(stat -Lc %s "$theirs") | $(stat -c %s "$ours") |
| packages of its libraries, but for those every Debian has, kB | $(libraries "$theirs") | $(libraries "$ours") |
END
    sed -n 's/^ROW//p' <<<"$said"
} >"$page.new"
mv "$page.new" "$page"
cat "$page"
