# Example, not part of the layer: copy it with its files into your own layer, and adapt the name
# of the recipe, the path of the program and the devices of your concentrator.
#
# Basic Station in a unit of its own, on credentials that mtls-agent hands over to a folder in
# memory. Radio devices never come near the agent; keys never come near the station's disk.

FILESEXTRAPATHS:prepend := "${THISDIR}/files:"

SRC_URI += "\
    file://mtls-agent-station.conf \
    file://station.path \
    file://station.service \
    file://station.tmpfiles \
    file://station-again.path \
    file://station-again.service \
"

inherit systemd useradd

USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system station"
USERADD_PARAM:${PN} = "--system --gid station --no-create-home --home-dir /run/station --shell /sbin/nologin station"

SYSTEMD_SERVICE:${PN} += "station.path station-again.path"

do_install:append() {
    install -d ${D}${systemd_system_unitdir}
    for unit in station.path station.service station-again.path station-again.service; do
        install -m 0644 ${UNPACKDIR}/$unit ${D}${systemd_system_unitdir}/$unit
    done
    install -D -m 0644 ${UNPACKDIR}/station.tmpfiles ${D}${nonarch_libdir}/tmpfiles.d/station.conf
    install -D -m 0644 ${UNPACKDIR}/mtls-agent-station.conf \
        ${D}${systemd_system_unitdir}/mtls-agent.service.d/station.conf
}

FILES:${PN} += "\
    ${systemd_system_unitdir} \
    ${nonarch_libdir}/tmpfiles.d \
"

RDEPENDS:${PN} += "mtls-agent"
