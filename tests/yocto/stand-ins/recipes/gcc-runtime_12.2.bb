SUMMARY = "Debian's libgcc for ARM, so that the library is found in a package"
LICENSE = "CLOSED"

PROVIDES += "virtual/compilerlibs"
DEPENDS = "virtual/libc"
PACKAGES = "libgcc"
FILES:libgcc = "${base_libdir}"

INHIBIT_DEFAULT_DEPS = "1"
INHIBIT_PACKAGE_STRIP = "1"
INSANE_SKIP:${PN} = "already-stripped"
INHIBIT_SYSROOT_STRIP = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install() {
    install -d ${D}${base_libdir}
    install -m 0755 /usr/aarch64-linux-gnu/lib/libgcc_s.so.1 ${D}${base_libdir}/
}
do_package_qa[noexec] = "1"
