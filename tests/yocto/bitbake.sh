#!/usr/bin/env bash
# Parses the layer with bitbake, runs yocto-check-layer, builds the package and rotates with it.
#
#   tests/yocto/bitbake.sh OE-CORE BITBAKE [PART...]    parse, check, package: these without PARTs
#
# small-check runs all of yocto-check-layer in minutes: no recipe of openembedded-core is parsed.
# Both are checkouts or unpacked sources of the same release; they are copied, never changed.
# bitbake fetches nothing, and refuses to run as root: then the user nobody does. Takes 4 GB below
# MTLS_YOCTO_DIR (/var/tmp), and half an hour on two cores; the package alone takes five minutes.
set -euo pipefail
core=$(realpath "$1")
tool=$(realpath "$2")
shift 2
[ $# -gt 0 ] || set -- parse check package
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d "${MTLS_YOCTO_DIR:-/var/tmp}/mtls-yocto.XXXXXX")
trap 'rm -rf "$work"' EXIT

# shellcheck source=tests/yocto/package.sh
. "$root/tests/yocto/package.sh"

as_user=()
if [ "$(id -u)" = 0 ]; then
    as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
fi

# bitbake_run BUILD COMMAND...: in the environment of a build folder, which is made if missing.
bitbake_run() {
    local build=$1
    shift
    # shellcheck disable=SC2016
    "${as_user[@]}" env -i PATH="$PATH" TERM=dumb LANG=en_US.UTF-8 HOME="$work/home" \
        BITBAKEDIR="$work/bitbake" bash -c '
            cd "$1" && . oe-core/oe-init-build-env "$2" >/dev/null && shift 2 && exec "$@"
        ' bash "$work" "$build" "$@"
}

copy_sources() {
    mkdir "$work/home" "$work/oe-core" "$work/bitbake"
    tar -C "$core" --exclude=.git -c . | tar -C "$work/oe-core" -x
    tar -C "$tool" --exclude=.git -c . | tar -C "$work/bitbake" -x
    # The recipe takes what is committed, so the layer has to be in a repository.
    git clone -q --no-hardlinks "$root" "$work/mtls-agent"
    if [ "${#as_user[@]}" -gt 0 ]; then
        chmod 755 "$work"
        chown -R 65534:65534 "$work"
    fi
}

timed() {
    local name=$1 begun=$SECONDS
    shift
    # Not in a condition: that would switch `set -e` off inside.
    "$@"
    echo "$name: $((SECONDS - begun)) s"
}

configure_build() {
    [ ! -e "$work/build" ] || return 0
    bitbake_run build bitbake-layers add-layer "$work/mtls-agent/yocto/meta-mtls-agent" >/dev/null
    printf '%s\n' 'MACHINE ??= "qemuarm64"' 'BB_NO_NETWORK = "1"' >>"$work/build/conf/local.conf"
}

# One parse of everything; then -g also resolves what the package needs to be built.
parse() {
    bitbake_run build bitbake -p | grep -E '^(Parsing of|ERROR|WARNING)' | tee "$work/parsed.txt"
    grep -q ' 0 errors' "$work/parsed.txt"
    bitbake_run build bitbake -g mtls-agent >"$work/graph.txt" || {
        cat "$work/graph.txt"
        return 1
    }
    [ -s "$work/build/pn-buildlist" ]
    bitbake_run build bitbake -e mtls-agent >"$work/environment.txt"
    grep -E '^(PV|PACKAGECONFIG|PACKAGES|SYSTEMD_PACKAGES)=' "$work/environment.txt"
    echo "$(wc -l <"$work/build/pn-buildlist") recipes are needed to build it"
}

# check_layer BUILD: with the configuration of that build folder. The world is our recipe and one
# other, so that signatures are made in minutes: of these two and of all they are built from.
check_layer() {
    local from=$1
    rm -rf "$work/check"
    mkdir -p "$work/check/conf"
    cp "$work/$from/conf/"{local.conf,templateconf.cfg} "$work/check/conf/"
    # yocto-check-layer adds the layer itself.
    sed "s|$work/mtls-agent/yocto/meta-mtls-agent||" "$work/$from/conf/bblayers.conf" \
        >"$work/check/conf/bblayers.conf"
    {
        printf 'EXCLUDE_FROM_WORLD = "1"\n'
        printf 'EXCLUDE_FROM_WORLD:pn-%s = "0"\n' mtls-agent base-files stand-in-accounts
    } >>"$work/check/conf/local.conf"
    chown -R --reference="$work/home" "$work/check"
    bitbake_run check yocto-check-layer --machines qemuarm64 -- \
        "$work/mtls-agent/yocto/meta-mtls-agent" >"$work/check.txt" 2>&1 || {
        tail -n 60 "$work/check.txt"
        return 1
    }
    grep -E 'INFO: (test_|meta-| \.\.\. |Ran )' "$work/check.txt" | sed 's/^INFO: //'
    grep -q 'meta-mtls-agent \.\.\. PASS' "$work/check.txt"
}

timed "copying" copy_sources
for part in "$@"; do
    case $part in
        parse)
            configure_build
            timed "parsing" parse
            echo "Proved: the layer parses beside openembedded-core, with every recipe it needs."
            ;;
        check)
            configure_build
            timed "yocto-check-layer" check_layer build
            echo "Proved: yocto-check-layer passes, with a world of this recipe and one other."
            ;;
        small-check)
            prepare_package
            PATH=$work/stand-ins/programs:$PATH timed "yocto-check-layer" check_layer package
            echo "Proved: yocto-check-layer passes, beside stand-ins for what the recipe needs."
            ;;
        package)
            prepare_package
            timed "package" package
            look_into_package
            timed "rotation" live_through_package
            echo "Proved: bitbake makes a package of the recipe, and its program works."
            echo "Not proved: Yocto's own compilers, libc and pseudo; Debian's stood in for them."
            ;;
        *)
            echo "no such part: $part" >&2
            exit 2
            ;;
    esac
done
