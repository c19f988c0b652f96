SUMMARY = "Empty packages that a recipe with a user of its own depends on"
LICENSE = "CLOSED"

PROVIDES += "base-files base-passwd shadow shadow-sysroot"
PACKAGES = "base-files base-passwd shadow"
ALLOW_EMPTY:base-files = "1"
ALLOW_EMPTY:base-passwd = "1"
ALLOW_EMPTY:shadow = "1"

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"
