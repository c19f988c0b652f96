SUMMARY = "Device identity and LNS credentials of a gateway"
DESCRIPTION = "Authenticates a gateway by its device certificate, and rotates its LNS credentials."
SECTION = "net"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "\
    file://LICENSE-MIT;md5=ebf6ee07f5502425bc85480e1736059b \
    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
"
CVE_PRODUCT = "mtls-agent"

# The sources are those beside this layer: what is committed in the checkout that it is part of.
# To build from elsewhere, give both, for example in the distribution's configuration:
#   MTLS_AGENT_URI:pn-mtls-agent = "git://git.example.com/mtls-agent.git;protocol=https;branch=main"
#   SRCREV:pn-mtls-agent = "a commit"
MTLS_AGENT_CHECKOUT = "${@os.path.realpath(d.getVar('FILE_DIRNAME') + '/../../../..')}"
MTLS_AGENT_URI ?= "git://${MTLS_AGENT_CHECKOUT};protocol=file;nobranch=1;usehead=1"
SRC_URI = "\
    ${MTLS_AGENT_URI} \
    file://agent.json \
    file://mtls-agent.tmpfiles \
"
# nooelint: oelint.vars.autorev - the checkout itself says which commit it is.
SRCREV ?= "${AUTOREV}"

require mtls-agent-crates.inc

inherit cargo cargo-update-recipe-crates systemd useradd

# Cargo's features. Without dbus Mender's other programs do not find the token, and systemd is asked
# about station.unit by systemctl only.
PACKAGECONFIG ??= "dbus mender updates"
PACKAGECONFIG[dbus] = "--features=dbus"
PACKAGECONFIG[mender] = "--features=mender"
PACKAGECONFIG[updates] = "--features=updates"

CARGO_BUILD_FLAGS += "--package=mtls-agent --bin=mtls-agent --no-default-features --features=daemon"

# The package's debug symbols are split off later, and QA refuses what is stripped before.
export CARGO_PROFILE_RELEASE_STRIP = "none"

# The C and assembly of the crate ring lies below CARGO_HOME, which the usual maps leave out; its
# path would end in the debug package.
CFLAGS:append = " -ffile-prefix-map=${UNPACKDIR}=${TARGET_DBGSRC_DIR}"

# The fuzz targets have a lock file of their own; update_crates would add it to the list.
remove_fuzzing() {
    rm -rf ${S}/fuzz
}
remove_fuzzing[doc] = "Removes the lock file that no package is made from"
do_unpack[postfuncs] += "remove_fuzzing"

do_install:append() {
    install -D -m 0644 ${S}/systemd/mtls-agent.service \
        ${D}${systemd_system_unitdir}/mtls-agent.service
    install -m 0644 ${S}/systemd/mtls-agent@.service ${D}${systemd_system_unitdir}/
    install -D -m 0644 ${UNPACKDIR}/agent.json ${D}${sysconfdir}/mtls-agent/agent.json
    install -D -m 0644 ${UNPACKDIR}/mtls-agent.tmpfiles \
        ${D}${nonarch_libdir}/tmpfiles.d/mtls-agent.conf
    if ${@bb.utils.contains('PACKAGECONFIG', 'mender', 'true', 'false', d)}; then
        install -D -m 0644 ${S}/systemd/mtls-agent-mender.service \
            ${D}${systemd_system_unitdir}/mtls-agent-mender.service
    fi
    if ${@bb.utils.contains('PACKAGECONFIG', 'dbus mender', 'true', 'false', d)}; then
        install -D -m 0644 ${S}/systemd/mtls-agent-mender.conf \
            ${D}${datadir}/dbus-1/system.d/mtls-agent-mender.conf
    fi
}

# The unit in place of Mender's client, apart: who installs it wants it.
PACKAGES =+ "${PN}-mender"

FILES:${PN}-mender += "\
    ${systemd_system_unitdir}/mtls-agent-mender.service \
    ${datadir}/dbus-1/system.d \
"

# The instance unit is not in SYSTEMD_SERVICE: only who names an instance wants it.
FILES:${PN} += "\
    ${nonarch_libdir}/tmpfiles.d \
    ${systemd_system_unitdir}/mtls-agent@.service \
"

CONFFILES:${PN} = "${sysconfdir}/mtls-agent/agent.json"

RDEPENDS:${PN}-mender = "${PN}"

SYSTEMD_PACKAGES = "${PN} ${@bb.utils.contains('PACKAGECONFIG', 'mender', '${PN}-mender', '', d)}"
SYSTEMD_SERVICE:${PN} = "mtls-agent.service"
SYSTEMD_SERVICE:${PN}-mender = "mtls-agent-mender.service"

USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system mtls-agent"
USERADD_PARAM:${PN} = "--system --gid mtls-agent --no-create-home --home-dir /data/mtls-agent --shell /sbin/nologin mtls-agent"
