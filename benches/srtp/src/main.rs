//! What SRTP costs for each packet: nanoseconds, the best of many batches, and allocations.
//!
//! 172 bytes are 20 ms of G.711 with their header; 1200 are video.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use srtp::{MAX_OVERHEAD, MasterKey, Profile, Receiver, Sender};

fn main() {
    println!(
        "{:24} {:>6} {:>9} {:>11} {:>12}",
        "profile", "bytes", "protect", "unprotect", "allocations"
    );
    for profile in Profile::ALL {
        for len in [172, 1200] {
            row(profile, len);
        }
    }
}

fn row(profile: Profile, len: usize) {
    let key = vec![7; MasterKey::len_for(profile)];
    let key = MasterKey::parse(profile, &key).expect("a key of the profile's length");
    let mut sender = Sender::new(profile, &key).expect("a key of the profile");
    let mut receiver = Receiver::new(profile, &key).expect("a key of the profile");
    let mut packets = vec![vec![0; len + MAX_OVERHEAD]; BATCH];
    let (mut protect, mut unprotect, mut allocations) = (f64::MAX, f64::MAX, 0);
    for batch in 0..BATCHES {
        for (n, packet) in packets.iter_mut().enumerate() {
            packet.resize(len + MAX_OVERHEAD, 0);
            packet[0] = 0x80;
            packet[2..4].copy_from_slice(&((batch * BATCH + n) as u16).to_be_bytes());
        }
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        protect = protect.min(time(|| {
            for packet in &mut packets {
                sender
                    .protect_rtp(black_box(packet), len)
                    .expect("protected");
            }
        }));
        let total = len + profile.rtp_overhead();
        unprotect = unprotect.min(time(|| {
            for packet in &mut packets {
                let packet = black_box(&mut packet[..total]);
                receiver.unprotect_rtp(packet).expect("unprotected");
            }
        }));
        if batch > 0 {
            allocations += ALLOCATIONS.load(Ordering::Relaxed) - before;
        }
    }
    println!(
        "{:24} {len:>6} {protect:>6.0} ns {unprotect:>8.0} ns {allocations:>12}",
        profile.name()
    );
}

/// Nanoseconds for each packet of a batch.
fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / BATCH as f64
}

const BATCH: usize = 500;
const BATCHES: usize = 400;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all work is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}
