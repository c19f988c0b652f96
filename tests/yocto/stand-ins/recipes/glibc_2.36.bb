SUMMARY = "Debian's libc for ARM, so that the libraries a program needs are found in a package"
LICENSE = "CLOSED"

PROVIDES += "virtual/libc"
PACKAGES = "${PN}"
FILES:${PN} = "${base_libdir}"

INHIBIT_DEFAULT_DEPS = "1"
INHIBIT_PACKAGE_STRIP = "1"
INSANE_SKIP:${PN} = "already-stripped"
INHIBIT_SYSROOT_STRIP = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install() {
    install -d ${D}${base_libdir}
    install -m 0755 /usr/aarch64-linux-gnu/lib/libc.so.6 ${D}${base_libdir}/
    install -m 0755 /usr/aarch64-linux-gnu/lib/libm.so.6 ${D}${base_libdir}/
    install -m 0755 /usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1 ${D}${base_libdir}/
}
# It is not this package that is tested.
do_package_qa[noexec] = "1"
