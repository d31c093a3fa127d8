//! A network that loses and delays: a relay for datagrams between one client and one server.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How bad it is, in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The part of all datagrams that is lost, from 0 to 1.
    pub loss: f64,
    /// Each of the others is late by at most so much, and may overtake.
    pub jitter: Duration,
}

/// A running relay; it ends when this is dropped.
#[derive(Debug)]
pub struct BadNetwork {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    server: Mutex<Option<SocketAddr>>,
    passed: AtomicU64,
    lost: AtomicU64,
    stop: AtomicBool,
}

impl BadNetwork {
    /// Starts a relay that leads nowhere yet.
    ///
    /// # Errors
    /// When there are no ports.
    pub fn start(weather: Weather) -> Result<Self> {
        let ends = [
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?,
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?,
        ];
        for end in &ends {
            end.set_nonblocking(true)?;
        }
        let address = ends[0].local_addr()?;
        let shared = Arc::new(Shared::default());
        let way = Way {
            ends,
            weather,
            shared: Arc::clone(&shared),
            client: None,
            late: BinaryHeap::new(),
            count: 0,
            dice: 0x9e37_79b9_7f4a_7c15,
        };
        let thread = Some(std::thread::spawn(move || way.run()));
        Ok(Self {
            address,
            shared,
            thread,
        })
    }

    /// Where the client sends.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where that goes.
    pub fn lead_to(&self, server: SocketAddr) {
        if let Ok(mut place) = self.shared.server.lock() {
            *place = Some(server);
        }
    }

    /// How many datagrams have passed, and how many were lost.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let Shared { passed, lost, .. } = &*self.shared;
        (passed.load(Ordering::Relaxed), lost.load(Ordering::Relaxed))
    }
}

impl Drop for BadNetwork {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If it has panicked, its test fails by what it misses.
            let _ = thread.join();
        }
    }
}

/// When a datagram arrives, which one it is, the end by which it leaves, and its octets.
type Late = (Instant, u64, usize, Vec<u8>);

struct Way {
    /// Towards the client and towards the server.
    ends: [UdpSocket; 2],
    weather: Weather,
    shared: Arc<Shared>,
    client: Option<SocketAddr>,
    /// Datagrams under way, the next one first.
    late: BinaryHeap<Reverse<Late>>,
    count: u64,
    dice: u64,
}

impl Way {
    fn run(mut self) {
        let mut buffer = [0; 2048];
        while !self.shared.stop.load(Ordering::Relaxed) {
            for end in 0..2 {
                while let Ok((length, from)) = self.ends[end].recv_from(&mut buffer) {
                    if end == 0 {
                        self.client = Some(from);
                    }
                    self.take(1 - end, &buffer[..length]);
                }
            }
            self.deliver();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn take(&mut self, out: usize, datagram: &[u8]) {
        if self.roll() < self.weather.loss {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let late = self.weather.jitter.mul_f64(self.roll());
        let entry = (Instant::now() + late, self.count, out, datagram.to_vec());
        self.count += 1;
        self.late.push(Reverse(entry));
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while let Some(Reverse(first)) = self.late.peek() {
            if first.0 > now {
                return;
            }
            let Some(Reverse((_, _, out, datagram))) = self.late.pop() else {
                return;
            };
            let server = || self.shared.server.lock().map_or(None, |server| *server);
            let to = if out == 0 { self.client } else { server() };
            // Who is not there any more misses it, as on any network.
            if to.is_some_and(|to| self.ends[out].send_to(&datagram, to).is_ok()) {
                self.shared.passed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// From 0 to 1; the same numbers in each run.
    fn roll(&mut self) -> f64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) as f64 / (1_u64 << 53) as f64
    }
}
