//! What a message costs in memory: nothing, once the buffers are there.
#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::UdpSocket;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::{Config, Engine, Input, Listen, Machine, Out, Services};
use sip::{Protocol, StatusCode, Writer, response_flow};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of this very method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Answer;

impl Machine for Answer {
    type Command = ();
    type Event = ();

    fn handle(&mut self, _: Instant, input: Input<'_, ()>, out: &mut Out<()>) {
        if let Input::Message { flow, message } = input {
            out.send_with(response_flow(message, flow), |bytes| {
                Writer::response_to(bytes, message, &flow, StatusCode(200), "t").finish();
            });
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// Requests of 64 calls, so that many slots of both threads have their part.
fn requests() -> Vec<String> {
    (0..64)
        .map(|number| {
            format!(
                "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;rport;branch=z9hG4bK{number}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\n\
                 Call-ID: {number}\r\nCSeq: 1 OPTIONS\r\n\r\n"
            )
        })
        .collect()
}

#[test]
fn messages_cost_no_allocation_in_the_long_run() {
    let listen = Listen {
        protocol: Protocol::Udp,
        address: "127.0.0.1:0".parse().unwrap(),
    };
    let config = Config {
        threads: NonZeroUsize::new(2),
        ..Config::new(vec![listen])
    };
    let engine = Engine::start(config, |_| Answer, Services::none()).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.connect(engine.listening()[0].address).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let requests = requests();
    let mut buffer = [0; 2048];
    let mut round = || {
        for request in &requests {
            peer.send(request.as_bytes()).unwrap();
        }
        for _ in &requests {
            peer.recv(&mut buffer).unwrap();
        }
    };
    (0..50).for_each(|_| round());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..200).for_each(|_| round());
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    // A buffer may still grow when batches happen to be larger than before.
    assert!(allocations < 64, "{allocations} for 12800 messages");
}
