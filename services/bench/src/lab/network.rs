//! A network namespace of one's own, and what filters packets outside of it.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::UnshareFlags;

/// Moves this process into a new network namespace and brings its loopback up.
///
/// # Errors
/// If that is not allowed. Nothing has changed then.
pub(super) fn isolate() -> io::Result<()> {
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    if unshare(UnshareFlags::NEWNET).is_err() {
        unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
        // Whoever this is stays who it is, also inside.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1", user = user.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1", group = group.as_raw()))?;
    }
    bring_loopback_up()
}

fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: no flag that separates what threads share (files, the working directory) is given.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

fn bring_loopback_up() -> io::Result<()> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: ifreq is plain bytes, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the descriptor is a socket and the request is a whole ifreq, as netdevice(7) wants it.
    match unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a packet filter is in the path of loopback: false in a namespace of its own, true where the kernel names tables of
/// rules, and none where it does not tell.
pub fn packet_filter(has_own_network: bool) -> Option<bool> {
    if has_own_network {
        return Some(false);
    }
    let tables = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
    let is_filtered = tables.iter().any(|path| fs::read_to_string(path).is_ok_and(|names| !names.trim().is_empty()));
    is_filtered.then_some(true)
}
