# Example, not part of the layer: copy it into your own layer.
#
# With meta-mender the data partition is mounted at /data, and what the root file system has
# below /data is copied into its image when that is made: so the store is there at the first boot.
# Devices that got their data partition before the agent get it from tmpfiles.d at boot.

do_install:append() {
    install -d -m 0700 -o mtls-agent -g mtls-agent ${D}/data/mtls-agent
}

FILES:${PN} += "/data/mtls-agent"
