SUMMARY = "Programs of the machine that runs the test, in place of those that Yocto builds"
LICENSE = "CLOSED"

inherit native

# They are found through HOSTTOOLS; here are only the names that a recipe waits for.
PROVIDES += "\
    cargo-native \
    debugedit-native \
    dwarfsrcfiles-native \
    file-native \
    opkg-utils-native \
    patch-replacement-native \
    patchelf-native \
    pseudo-native \
    python3-native \
    quilt-native \
    rpm-native \
    rust-native \
    shadow-native \
    systemd-systemctl-native \
    virtual/fakeroot-native \
    xz-native \
    zstd-native \
"

# Else it would wait for itself.
PATCHDEPENDENCY = ""
INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"
