# Read by bitbake.sh: builds the package of the layer and lives through a rotation with its binary.
# shellcheck shell=bash disable=SC2154 # work, root and the like are those of bitbake.sh

# Yocto's own compilers would be built from sources that have to be fetched. Debian's take their
# place (stand-ins/); our recipe and all classes are as they are. README.md of the layer lists what
# that leaves unproved.
prepare_package() {
    [ ! -e "$work/stand-ins" ] || return 0
    local rust=$root/target/rust-1.85 program
    local stand_ins=$work/stand-ins
    cp -r "$root/tests/yocto/stand-ins" "$stand_ins"
    # Whoever runs bitbake may not read where it was made.
    cp -a "$rust" "$work/rust"
    for program in cargo rustc; do
        cat >"$stand_ins/programs/$program" <<END_OF_PROGRAM
#!/bin/sh
LD_LIBRARY_PATH=$work/rust/usr/lib/x86_64-linux-gnu:$work/rust/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH
exec $work/rust/usr/bin/$program "\$@"
END_OF_PROGRAM
        chmod +x "$stand_ins/programs/$program"
    done
    fetch_crates
    configure_package
}

package() {
    PATH=$work/stand-ins/programs:$PATH bitbake_run package bitbake mtls-agent \
        >"$work/package.txt" 2>&1 || {
        grep -v '^NOTE: ' "$work/package.txt" | tail -n 60
        return 1
    }
    grep -E '^(WARNING|NOTE: Tasks Summary)' "$work/package.txt"
}

# bitbake may not fetch: cargo has, and both keep the same archives by the same sums.
fetch_crates() {
    local crate
    local inc=yocto/meta-mtls-agent/recipes-connectivity/mtls-agent/mtls-agent-crates.inc
    mkdir -p "$work/package/downloads"
    (cd "$root" && cargo fetch --quiet --locked)
    while read -r crate; do
        # More than one where more than one registry has been used.
        for crate in "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"$crate.crate"; do
            cp "$crate" "$work/package/downloads/"
        done
    done < <(sed -n 's|^ *crate://crates.io/\(.*\)/\([^ ]*\) .*|\1-\2|p' "$root/$inc")
}

configure_package() {
    chown -R --reference="$work/home" "$work/stand-ins" "$work/package"
    # The first command in it makes the folder's configuration.
    bitbake_run package true
    {
        echo "DL_DIR = \"$work/package/downloads\""
        echo "require $work/stand-ins/conf/stand-ins.conf"
    } >>"$work/package/conf/local.conf"
    echo "BBLAYERS += \"$work/mtls-agent/yocto/meta-mtls-agent $work/stand-ins\"" \
        >>"$work/package/conf/bblayers.conf"
}

# What is in the .ipk: the fields, and every part that makes it a service of its own user.
look_into_package() {
    local ipk found=$work/ipk unit part
    ipk=$(echo "$work/package/"tmp*/deploy/ipk/*/mtls-agent_*.ipk)
    mkdir -p "$found/control" "$found/data"
    ar p "$ipk" control.tar.gz | tar -xz -C "$found/control"
    ar p "$ipk" data.tar.zst | tar -x --zstd -C "$found/data"
    echo "$(basename "$ipk"): $(stat -c %s "$ipk") octets, with these fields and files:"
    sed 's/^/   /' "$found/control/control"
    (cd "$found/data" && find . -type f -printf '   %M %10s %P\n' | sort -k 3)
    for part in base-passwd shadow; do
        grep -q "^Depends: .*\b$part\b" "$found/control/control"
    done
    for unit in mtls-agent.service mtls-agent@.service; do
        cmp "$found/data/usr/lib/systemd/system/$unit" "$root/systemd/$unit"
    done
    # The unit and no other; an instance is for the operator to enable.
    [ "$(cat "$found/data/usr/lib/systemd/system-preset/"*mtls-agent.preset)" = \
        "enable mtls-agent.service" ]
    grep -q '^/etc/mtls-agent/agent.json$' "$found/control/conffiles"
    cmp "$found/data/etc/mtls-agent/agent.json" \
        "$root/yocto/meta-mtls-agent/recipes-connectivity/mtls-agent/files/agent.json"
    grep -q -- '--system --gid mtls-agent' "$found/control/preinst"
    for part in preinst postinst prerm; do
        sh -n "$found/control/$part"
    done
    # Mender's unit is in a package of its own.
    [ -s "$(echo "$work/package/"tmp*/deploy/ipk/*/mtls-agent-mender_*.ipk)" ]
    echo "preset, units, conffile, and the user in preinst are as the recipe says"
}

# The same way as the packages of Debian take: version, check, and a rotation by mutual TLS.
live_through_package() {
    "$root/tests/packages/emulated" arm64 "${MTLS_SIZE_LIMIT_PACKAGED:-2200000}" \
        "$work/ipk/data/usr/bin/mtls-agent"
}
