//! When the process has no descriptors left. Alone in its program: the limit is the process's.
#![allow(unsafe_code, reason = "the limit is set by a system call")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::{PATIENCE, Rig, request};
use engine::Counter;

fn limit_descriptors(most: u64) {
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: hard_limit(),
    };
    // SAFETY: the pointer is that of a live structure of this type.
    assert_eq!(0, unsafe {
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    });
}

fn hard_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is that of a live structure of this type.
    assert_eq!(0, unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit)
    });
    limit.rlim_max
}

fn is_answered(stream: &mut TcpStream, cseq: u32) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(request("OPTIONS", "a", cseq).as_bytes())
        .unwrap();
    let mut answer = [0; 12];
    let read = stream.read_exact(&mut answer);
    let mut rest = [0; 4096];
    read.is_ok() && &answer == b"SIP/2.0 200 " && stream.read(&mut rest).is_ok()
}

#[test]
fn without_descriptors_old_connections_live_and_new_ones_come_later() {
    let rig = Rig::new(&["tcp:127.0.0.1:0"], 1);
    let mut proven = TcpStream::connect(rig.address(0)).unwrap();
    assert!(is_answered(&mut proven, 1));
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    limit_descriptors(open + 40);
    let mut streams = Vec::new();
    while let Ok(stream) = TcpStream::connect(rig.address(0)) {
        streams.push(stream);
    }
    rig.await_count(Counter::ConnectionsRefused, 1);
    assert!(is_answered(&mut proven, 2));
    drop(streams);
    let mut late = TcpStream::connect(rig.address(0)).unwrap();
    assert!(is_answered(&mut late, 3));
    assert!(is_answered(&mut proven, 4));
    // Each refusal ends a wait or a connection; a loop would have counted without end.
    assert!(rig.count(Counter::ConnectionsRefused) < 200);
}
