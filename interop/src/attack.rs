//! Floods and odd packets, as strangers send them.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fd::OwnedFd;
use rustix::net::{self, AddressFamily, SendFlags, SocketType, ipproto};

/// How long attacks last: short, or as many seconds as `DIALTONE_ATTACK_SECONDS` says.
#[must_use]
pub fn duration() -> Duration {
    let wish = std::env::var("DIALTONE_ATTACK_SECONDS").ok();
    let seconds = wish.and_then(|wish| wish.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

/// Requests in a steady stream, until this is stopped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Count>>,
}

/// What became of a flood.
#[derive(Clone, Copy, Default, Debug)]
pub struct Count {
    /// Requests sent.
    pub sent: u64,
    /// Responses received.
    pub answered: u64,
    /// How long it lasted.
    pub took: Duration,
}

impl Count {
    /// Requests a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.took.as_secs_f64()
    }
}

impl Flood {
    /// Sends `rate` requests a second to `server`, each made by `request` from its number and our
    /// address.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn start(
        server: SocketAddr,
        rate: u32,
        request: impl Fn(u64, SocketAddr) -> String + Send + 'static,
    ) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || run(&socket, rate, &stopped, request));
        Ok(Self { stop, thread })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the flood had to end before.
    pub fn stop(self) -> Result<Count> {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.thread.join();
        count.map_err(|_| anyhow!("the flood has panicked"))?
    }
}

fn run(
    socket: &UdpSocket,
    rate: u32,
    stopped: &AtomicBool,
    request: impl Fn(u64, SocketAddr) -> String,
) -> Result<Count> {
    let (start, here) = (Instant::now(), socket.local_addr()?);
    let mut count = Count::default();
    let mut buffer = [0; 4096];
    while !stopped.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        // A machine that was busy elsewhere makes no burst of what was not sent.
        for number in count.sent..due.min(count.sent + BURST) {
            // A full buffer of the receiver shows nowhere; our own is as good as lost on the way.
            let _ = socket.send(request(number, here).as_bytes());
            count.sent += 1;
        }
        while socket.recv(&mut buffer).is_ok() {
            count.answered += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    count.took = start.elapsed();
    Ok(count)
}

const BURST: u64 = 400;

/// A request of nobody to `target`, which may hold a user.
#[must_use]
pub fn request(method: &str, target: &str, number: u64, here: SocketAddr, more: &str) -> String {
    format!(
        "{method} sip:{target} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {here};rport;branch=z9hG4bK-flood-{number}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:{number}@{here}>;tag={number}\r\n\
         To: <sip:{target}>\r\n\
         Call-ID: flood-{number}-{port}\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:{number}@{here}>\r\n\
         {more}\
         Content-Length: 0\r\n\r\n",
        port = here.port(),
    )
}

/// A socket for packets with any header.
#[derive(Debug)]
pub struct Forger(OwnedFd);

impl Forger {
    /// Opens the socket.
    ///
    /// # Errors
    /// When we may not: only root may.
    pub fn open() -> Result<Self> {
        let socket = net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW));
        socket.map(Self).context("open a raw socket")
    }

    /// Sends a datagram that claims to come from `from`.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn send(&self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Result<()> {
        let udp = udp(from, to, payload);
        self.send_ip(from, to, &ip(from, to, &udp, 0, 0, false))
    }

    /// Sends a datagram in fragments of `size` octets, a multiple of 8, in this order; fragments
    /// that `order` leaves out never arrive.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn send_fragments(
        &self,
        (from, to): (SocketAddrV4, SocketAddrV4),
        payload: &[u8],
        size: usize,
        order: impl Iterator<Item = usize>,
        identity: u16,
    ) -> Result<()> {
        ensure!(
            size.is_multiple_of(8),
            "fragments are multiples of 8 octets"
        );
        let udp = udp(from, to, payload);
        let fragments: Vec<_> = udp.chunks(size).collect();
        for index in order {
            let fragment = fragments.get(index).context("no such fragment")?;
            let offset = u16::try_from(index * size / 8)?;
            let more = index + 1 < fragments.len();
            let packet = ip(from, to, fragment, identity, offset, more);
            self.send_ip(from, to, &packet)?;
        }
        Ok(())
    }

    fn send_ip(&self, _: SocketAddrV4, to: SocketAddrV4, packet: &[u8]) -> Result<()> {
        let to = SocketAddrV4::new(*to.ip(), 0);
        net::sendto(&self.0, packet, SendFlags::empty(), &to).context("send a raw packet")?;
        Ok(())
    }
}

fn udp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
    let mut packet = Vec::with_capacity(payload.len() + 8);
    for field in [from.port(), to.port(), length, 0] {
        packet.extend_from_slice(&field.to_be_bytes());
    }
    packet.extend_from_slice(payload);
    packet
}

/// One IPv4 packet; the kernel adds what is left at zero (length and checksum).
fn ip(
    from: SocketAddrV4,
    to: SocketAddrV4,
    payload: &[u8],
    identity: u16,
    offset: u16,
    more: bool,
) -> Vec<u8> {
    const UDP: u8 = 17;
    const MORE: u16 = 0x2000;
    let mut packet = vec![0x45, 0, 0, 0];
    packet.extend_from_slice(&identity.to_be_bytes());
    let flags = offset | if more { MORE } else { 0 };
    packet.extend_from_slice(&flags.to_be_bytes());
    packet.extend_from_slice(&[64, UDP, 0, 0]);
    packet.extend_from_slice(&from.ip().octets());
    packet.extend_from_slice(&to.ip().octets());
    packet.extend_from_slice(payload);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_its_rate_and_counts_answers() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = server.local_addr().unwrap();
        let flood = Flood::start(address, 200, move |number, here| {
            request("OPTIONS", &address.to_string(), number, here, "")
        })
        .unwrap();
        let mut buffer = [0; 2048];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert!(buffer[..length].starts_with(b"OPTIONS sip:127.0.0.1"));
        server.send_to(b"SIP/2.0 200 OK\r\n\r\n", from).unwrap();
        server.recv_from(&mut buffer).unwrap();
        let count = flood.stop().unwrap();
        assert!(count.sent >= 2 && count.answered <= 1, "{count:?}");
    }

    #[test]
    fn fragments_arrive_as_one_datagram() {
        let Ok(forger) = Forger::open() else {
            eprintln!("skipped: only root may forge packets");
            return;
        };
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let SocketAddr::V4(to) = server.local_addr().unwrap() else {
            panic!("IPv4 was asked for");
        };
        let from = SocketAddrV4::new(Ipv4Addr::new(127, 9, 8, 7), 5060);
        let payload: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let order = (0..4).rev();
        forger
            .send_fragments((from, to), &payload, 256, order, 77)
            .unwrap();
        let mut buffer = [0; 2048];
        let (length, source) = server.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], source), (&payload[..], from.into()));
    }
}
