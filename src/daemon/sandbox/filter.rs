//! Writes: the seccomp filter, which refuses what is never needed once the agent runs.
//!
//! ```text
//! another processor's calls -> refused, or left alone where programs may be of one
//! number in the list        -> EPERM
//! clone with a namespace    -> EPERM        clone3 -> ENOSYS, and libc takes clone
//! socket of another family  -> EAFNOSUPPORT
//! the rest                  -> allowed
//! ```
//! A list of what is refused, not of what is allowed: a libc that takes a new call tomorrow must
//! not stop a gateway that nobody stands beside. What is allowed at all is the unit's to say.

use libc::c_long;
use seccompiler::{apply_filter_all_threads, sock_filter};

/// Who must live with the filter: children inherit it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// This process, which starts no program.
    Alone,
    /// Programs of the operator as well: they may need to mount, or to load a module.
    Programs,
}

/// What looks into other processes, or opens the kernel itself: for nobody.
const FOR_NOBODY: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_bpf,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    #[cfg(all(target_env = "gnu", not(target_arch = "riscv64")))]
    libc::SYS_kexec_file_load,
    libc::SYS_lookup_dcookie,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_userfaultfd,
];

/// What the agent has no use for, and an installer might.
const FOR_PROGRAMS: &[c_long] = &[
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_mknodat,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_personality,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(any(target_arch = "x86_64", target_arch = "arm"))]
    libc::SYS_mknod,
];

/// Families that the agent opens after its start: name lookups ask for netlink.
const FAMILIES: [i32; 4] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// Flags of clone that make a namespace.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The kernel's name of the processor that this program is built for (`linux/audit.h`).
const PROCESSOR: Option<u32> = if cfg!(target_endian = "big") {
    None
} else if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(0xC000_003E)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else if cfg!(target_arch = "arm") {
    Some(0x4000_0028)
} else if cfg!(target_arch = "riscv64") {
    Some(0xC000_00F3)
} else {
    None
};

/// From here on x86-64 counts the calls of x32, which would slip through the list.
const X32: u32 = 0x4000_0000;

// Operations of classic BPF (`linux/bpf_common.h`), and where `struct seccomp_data` has what.
const LOAD: u16 = 0x20;
const IS_EQUAL: u16 = 0x15;
const IS_AT_LEAST: u16 = 0x35;
const HAS_ANY_OF: u16 = 0x45;
const ANSWER: u16 = 0x06;
const NUMBER_AT: u32 = 0;
const PROCESSOR_AT: u32 = 4;
/// The lower half of the first argument; seccompiler is for little-endian processors only.
const ARGUMENT_AT: u32 = 16;
const ALLOWED: u32 = 0x7fff_0000;
const REFUSED: u32 = 0x0005_0000;

/// Puts the filter before every thread of this process, for good. `false`: the kernel has none,
/// or nobody knows this processor's numbers.
pub(super) fn enter(scope: Scope) -> bool {
    program(scope).is_some_and(|program| apply_filter_all_threads(&program).is_ok())
}

fn program(scope: Scope) -> Option<Vec<sock_filter>> {
    let is_alone = scope == Scope::Alone;
    let foreign = if is_alone {
        refused(libc::EPERM)
    } else {
        ALLOWED
    };
    let mut program = vec![
        load(PROCESSOR_AT),
        jump(IS_EQUAL, PROCESSOR?, 1, 0),
        answer(foreign),
        load(NUMBER_AT),
    ];
    if cfg!(target_arch = "x86_64") {
        program.extend([jump(IS_AT_LEAST, X32, 0, 1), answer(refused(libc::EPERM))]);
    }
    let more = if is_alone { FOR_PROGRAMS } else { &[] };
    for call in FOR_NOBODY.iter().chain(more) {
        program.extend([
            jump(IS_EQUAL, number(*call), 0, 1),
            answer(refused(libc::EPERM)),
        ]);
    }
    if is_alone {
        program.extend(arguments());
    }
    program.push(answer(ALLOWED));
    Some(program)
}

/// The calls that are judged by their first argument.
fn arguments() -> Vec<sock_filter> {
    let mut steps = vec![
        // Its flags lie in memory, where a filter cannot look.
        jump(IS_EQUAL, number(libc::SYS_clone3), 0, 1),
        answer(refused(libc::ENOSYS)),
        jump(IS_EQUAL, number(libc::SYS_clone), 0, 4),
        load(ARGUMENT_AT),
        jump(HAS_ANY_OF, bits(NAMESPACES), 0, 1),
        answer(refused(libc::EPERM)),
        answer(ALLOWED),
    ];
    let mut families = vec![load(ARGUMENT_AT)];
    for family in FAMILIES {
        families.extend([jump(IS_EQUAL, bits(family), 0, 1), answer(ALLOWED)]);
    }
    families.push(answer(refused(libc::EAFNOSUPPORT)));
    let beyond = u8::try_from(families.len()).unwrap_or(u8::MAX);
    steps.push(jump(IS_EQUAL, number(libc::SYS_socket), 0, beyond));
    steps.extend(families);
    steps
}

/// A number that no call has where it does not fit.
fn number(call: c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

/// As the kernel compares it.
const fn bits(value: i32) -> u32 {
    u32::from_ne_bytes(value.to_ne_bytes())
}

const fn refused(errno: i32) -> u32 {
    REFUSED | bits(errno)
}

const fn load(at: u32) -> sock_filter {
    step(LOAD, 0, 0, at)
}

/// Skips so many steps if it is so, and so many if not.
const fn jump(code: u16, value: u32, if_so: u8, if_not: u8) -> sock_filter {
    step(code, if_so, if_not, value)
}

const fn answer(value: u32) -> sock_filter {
    step(ANSWER, 0, 0, value)
}

const fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would make of a call: the filter, step by step.
    fn verdict(scope: Scope, processor: u32, call: u32, argument: u32) -> u32 {
        let program = program(scope).unwrap();
        let (mut at, mut value) = (0, 0);
        loop {
            let step = &program[at];
            at += 1;
            let is_so = match step.code {
                LOAD => {
                    value = match step.k {
                        NUMBER_AT => call,
                        PROCESSOR_AT => processor,
                        ARGUMENT_AT => argument,
                        other => panic!("nothing at {other}"),
                    };
                    continue;
                }
                ANSWER => return step.k,
                IS_EQUAL => value == step.k,
                IS_AT_LEAST => value >= step.k,
                HAS_ANY_OF => value & step.k != 0,
                other => panic!("no operation {other}"),
            };
            at += usize::from(if is_so { step.jt } else { step.jf });
        }
    }

    fn of(scope: Scope, call: c_long, argument: i32) -> u32 {
        let argument = bits(argument);
        verdict(scope, PROCESSOR.unwrap(), number(call), argument)
    }

    #[test]
    fn what_is_listed_is_refused_and_the_rest_is_not() {
        let eperm = refused(libc::EPERM);
        for call in FOR_NOBODY {
            assert_eq!(of(Scope::Alone, *call, 0), eperm, "{call}");
            assert_eq!(of(Scope::Programs, *call, 0), eperm, "{call}");
        }
        for call in FOR_PROGRAMS {
            assert_eq!(of(Scope::Alone, *call, 0), eperm, "{call}");
            assert_eq!(of(Scope::Programs, *call, 0), ALLOWED, "{call}");
        }
        let needed = [
            libc::SYS_openat,
            libc::SYS_fsync,
            libc::SYS_renameat2,
            libc::SYS_connect,
            libc::SYS_futex,
            libc::SYS_fchown,
            libc::SYS_exit_group,
        ];
        for call in needed {
            assert_eq!(of(Scope::Alone, call, 0), ALLOWED, "{call}");
        }
    }

    #[test]
    fn threads_can_be_made_and_namespaces_cannot() {
        let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SETTLS;
        assert_eq!(of(Scope::Alone, libc::SYS_clone, thread), ALLOWED);
        let namespace = of(Scope::Alone, libc::SYS_clone, thread | libc::CLONE_NEWUSER);
        assert_eq!(namespace, refused(libc::EPERM));
        let newer = of(Scope::Alone, libc::SYS_clone3, 0);
        assert_eq!(newer, refused(libc::ENOSYS));
        assert_eq!(of(Scope::Programs, libc::SYS_clone3, 0), ALLOWED);
    }

    #[test]
    fn only_families_in_use_can_be_opened() {
        for family in FAMILIES {
            assert_eq!(of(Scope::Alone, libc::SYS_socket, family), ALLOWED);
        }
        for family in [libc::AF_PACKET, libc::AF_BLUETOOTH, libc::AF_VSOCK] {
            let answer = of(Scope::Alone, libc::SYS_socket, family);
            assert_eq!(answer, refused(libc::EAFNOSUPPORT));
            assert_eq!(of(Scope::Programs, libc::SYS_socket, family), ALLOWED);
        }
    }

    #[test]
    fn another_processors_numbers_are_no_way_round_the_list() {
        let foreign = |scope| verdict(scope, 0x4000_0003, 0, 0);
        assert_eq!(foreign(Scope::Alone), refused(libc::EPERM));
        assert_eq!(foreign(Scope::Programs), ALLOWED);
        if cfg!(target_arch = "x86_64") {
            let call = X32 | number(libc::SYS_ptrace);
            let answer = verdict(Scope::Programs, PROCESSOR.unwrap(), call, 0);
            assert_eq!(answer, refused(libc::EPERM));
        }
    }

    /// The kernel's limit is 4096 steps; jumps reach 255.
    #[test]
    fn the_program_is_short() {
        assert!(program(Scope::Alone).unwrap().len() < 256);
    }
}
