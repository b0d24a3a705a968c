//! Every transport, and the names that clients leave (or do not leave) behind.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use support::{answer_by, answer_right, plan, right, settings, spawn, start, tcp, udp, wait_for};
use swarm::Service;
use zen::{Endpoint, Transport};

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("swarm-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unix(path: &Path) -> Endpoint {
    let listener = UnixListener::bind(path).unwrap();
    spawn(move || {
        for client in listener.incoming().flatten() {
            spawn(move || answer_right(client));
        }
    });
    Endpoint::path(Transport::Unix, path)
}

fn unixgram(path: &Path) -> Endpoint {
    let socket = UnixDatagram::bind(path).unwrap();
    spawn(move || {
        let mut buffer = [0; 64];
        loop {
            let (bytes, from) = socket.recv_from(&mut buffer).unwrap();
            // A client may have gone.
            let _ = socket.send_to(right(&buffer[..bytes]).as_bytes(), from.as_pathname().unwrap());
        }
    });
    Endpoint::path(Transport::Unixgram, path)
}

#[test]
fn every_transport_is_asked_and_answers() {
    let directory = Directory::new("every");
    let mut settings = settings(vec![tcp(answer_right)], plan());
    settings.targets[0].endpoints.extend([
        udp(|_, right| vec![right.into()]),
        unix(&directory.0.join("known.stream")),
        unixgram(&directory.0.join("known.datagram")),
    ]);
    let service = Service::start(settings).unwrap();
    support::wait_until("answers over every transport", || {
        service.snapshots().iter().all(|snapshot| snapshot.ledger.ok() >= 100).then_some(())
    });
    for snapshot in service.snapshots() {
        assert!(snapshot.balanced && snapshot.ledger.failed() == 0, "{snapshot:?}");
    }
    let ledger = service.stop();
    assert_eq!((ledger.failed(), ledger.dropped, ledger.unsent, ledger.planned), (0, 0, 0, ledger.ok()), "{ledger:?}");
}

#[test]
fn datagram_clients_leave_no_file_and_remove_those_of_the_dead() {
    let directory = Directory::new("names");
    let endpoint = unixgram(&directory.0.join("known.datagram"));
    // Left by a swarm that was killed; of one that lives; of somebody else.
    drop(UnixDatagram::bind(directory.0.join("zenlab-swarm.1.dead")).unwrap());
    let _alive = UnixDatagram::bind(directory.0.join("zenlab-swarm.2.alive")).unwrap();
    drop(UnixDatagram::bind(directory.0.join("other.datagram")).unwrap());
    let service = start(endpoint, |_| {});
    wait_for(&service, "answers", |ledger| ledger.ok() >= 30);
    service.stop();
    let mut names = directory.names();
    names.sort();
    assert_eq!(names, ["known.datagram", "other.datagram", "zenlab-swarm.2.alive"]);
}

#[test]
fn traced_unix_clients_have_abstract_names_of_their_own() {
    static NAMES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
    let directory = Directory::new("abstract");
    let path = directory.0.join("known.stream");
    let listener = UnixListener::bind(&path).unwrap();
    spawn(move || {
        use std::os::linux::net::SocketAddrExt;
        while let Ok((client, from)) = listener.accept() {
            NAMES.lock().unwrap().push(from.as_abstract_name().unwrap_or_default().to_vec());
            spawn(move || answer_by(client, |_, right| Some(right.into())));
        }
    });
    let service = start(Endpoint::path(Transport::Unix, path), |plan| plan.trace_one_in = 1);
    wait_for(&service, "answers", |ledger| ledger.ok() >= 30);
    service.stop();
    let mut names = NAMES.lock().unwrap().clone();
    assert!(names.iter().all(|name| name.starts_with(b"zenlab-swarm.")), "{names:?}");
    let clients = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), clients, "no two clients share a name");
}
