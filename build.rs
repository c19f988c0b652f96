//! Makes the release binary small: packed relocations, no tables for unwinding, and what is not run
//! lies apart.
//!
//! | what | off a 64-bit binary | price |
//! |---|---|---|
//! | packed relocations | 130 KiB | needs glibc 2.36 on the device |
//! | no unwind tables | 290 KiB | `RUST_BACKTRACE` shows nothing; a panic still tells where |
//! | what lies apart | nothing; 60 to 100 kB of resident memory | the names below must be kept up |
//!
//! A release panics by aborting, so nothing ever unwinds; the standard library brings its
//! tables all the same. Nothing is packed for musl: a static program has no such relocations, zig's
//! linker refuses the option, and musl before 1.2.4 could not read the result.
//! Other linkers without the first option ignore it.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script: cargo speaks through the environment, and the file is for the linker"
)]

use std::path::PathBuf;
use std::{env, fs, io};

/// Drops the tables, and puts together what a device seldom runs or never: the walk through a stack
/// that has no tables, Mender's part, the holders of the link. The kernel maps a program in pieces
/// of 16 pages around what runs; a piece of these alone is never mapped, and costs no memory.
/// The patterns hold for both ways in which rustc writes names. One that matches nothing is no
/// error: its functions are then mapped as before.
const SCRIPT: &str = "\
SECTIONS {
    /DISCARD/ : { *(.eh_frame) *(.eh_frame_hdr) *(.gcc_except_table .gcc_except_table.*) }
    .text.apart : {
        *(.text.*gimli* .text.*addr2line* .text.*miniz_oxide* .text.*rustc_demangle*)
        *(.text.*backtrace*)
        *(.text.*mtls_agent*mender* .text.*mtls_agent*dbus*)
        *(.text.*mtls_agent*holders*relay*)
        *(.text.*mtls_agent*holders*)
    }
} INSERT AFTER .text;
";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|library| library != "musl") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let script = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("small.ld");
        fs::write(&script, SCRIPT)?;
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
    Ok(())
}
