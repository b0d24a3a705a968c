//! What datagram clients of an earlier life have left behind.

use std::io;
use std::path::Path;

use zen::{Address, Transport};

use crate::plan::Target;

/// Datagram clients that were killed leave files; those that nobody has bound are removed.
pub(crate) fn remove_stale_sockets(targets: &[Target]) {
    let endpoints = targets.iter().flat_map(|target| &target.endpoints);
    let paths = endpoints.filter(|endpoint| endpoint.transport == Transport::Unixgram);
    let mut directories: Vec<_> = paths
        .filter_map(|endpoint| match &endpoint.address {
            Address::Path(path) => path.parent().map(ToOwned::to_owned),
            Address::Host(..) => None,
        })
        .collect();
    directories.dedup();
    for entry in directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(crate::client::NAME);
        if is_ours && is_dead(&entry.path()) {
            // Another swarm may have been quicker.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn is_dead(path: &Path) -> bool {
    let probe = std::os::unix::net::UnixDatagram::unbound().and_then(|probe| probe.connect(path));
    probe.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
