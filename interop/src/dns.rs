//! A name server with a zone that a test makes up and changes while it runs.
//!
//! ```
//! use interop::dns::{Dns, Record};
//!
//! # fn main() -> std::io::Result<()> {
//! let dns = Dns::start()?;
//! dns.add("example.com", 60, Record::naptr(10, 10, "SIP+D2T", "_sip._tcp.example.com"));
//! dns.add("_sip._tcp.example.com", 60, Record::srv(0, 1, 5080, "one.example.com"));
//! dns.add("one.example.com", 60, Record::Address("127.0.0.1".parse().unwrap()));
//! println!("servers = [\"{}\"]", dns.address());
//! # Ok(())
//! # }
//! ```

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A name server on a port of 127.0.0.1, over UDP and TCP. Ends when it is dropped.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a name has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An A or AAAA record.
    Address(IpAddr),
    /// Another name for the same.
    Alias(String),
    /// A server of a service: priority, weight, port, host.
    Srv(u16, u16, u16, String),
    /// A service of a domain: order, preference, service, where its SRV records are.
    Naptr(u16, u16, String, String),
}

impl Record {
    /// An SRV record (RFC 2782).
    #[must_use]
    pub fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Self {
        Self::Srv(priority, weight, port, target.into())
    }

    /// A NAPTR record with the flag `s` (RFC 3263 §4.1).
    #[must_use]
    pub fn naptr(order: u16, preference: u16, service: &str, replacement: &str) -> Self {
        Self::Naptr(order, preference, service.into(), replacement.into())
    }

    const fn kind(&self) -> u16 {
        match self {
            Self::Address(IpAddr::V4(_)) => 1,
            Self::Address(IpAddr::V6(_)) => 28,
            Self::Alias(_) => CNAME,
            Self::Srv(..) => 33,
            Self::Naptr(..) => 35,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut data = Vec::new();
        match self {
            Self::Address(IpAddr::V4(address)) => data.extend(address.octets()),
            Self::Address(IpAddr::V6(address)) => data.extend(address.octets()),
            Self::Alias(name) => put_name(&mut data, name),
            Self::Srv(priority, weight, port, target) => {
                for number in [priority, weight, port] {
                    data.extend(number.to_be_bytes());
                }
                put_name(&mut data, target);
            }
            Self::Naptr(order, preference, service, replacement) => {
                data.extend(order.to_be_bytes());
                data.extend(preference.to_be_bytes());
                for text in ["s", service, ""] {
                    put_text(&mut data, text);
                }
                put_name(&mut data, replacement);
            }
        }
        data
    }
}

/// A question that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name, in lower case.
    pub name: String,
    /// The record type's number: 1 is A, 28 AAAA, 33 SRV, 35 NAPTR.
    pub kind: u16,
    /// It came over TCP.
    pub stream: bool,
}

#[derive(Debug, Default)]
struct State {
    zone: Vec<(String, u32, Record)>,
    asked: Vec<Asked>,
    silent: bool,
    truncates: bool,
    over: bool,
}

impl Dns {
    /// Starts one with an empty zone.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn start() -> io::Result<Self> {
        let (udp, tcp) = sockets()?;
        let address = udp.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let threads = vec![
            {
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve_datagrams(&udp, &state))
            },
            {
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve_streams(&tcp, &state))
            },
        ];
        Ok(Self {
            address,
            state,
            threads,
        })
    }

    /// Where it listens, over UDP and TCP.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives a name a record that is good for `ttl` seconds.
    pub fn add(&self, name: &str, ttl: u32, record: Record) {
        self.state().zone.push((name.to_lowercase(), ttl, record));
    }

    /// Takes all records from a name.
    pub fn remove(&self, name: &str) {
        self.state().zone.retain(|(owner, _, _)| owner != name);
    }

    /// Answers nothing from now on, or answers again.
    pub fn set_silent(&self, silent: bool) {
        self.state().silent = silent;
    }

    /// Answers over UDP only that the answer is too long for it (RFC 7766 §5), or in full again.
    pub fn set_truncates(&self, truncates: bool) {
        self.state().truncates = truncates;
    }

    /// All questions since the last time, the oldest first.
    #[must_use]
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().asked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.state().over = true;
        // Both threads wait for something to come in.
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            let _ = socket.send_to(&[], self.address);
        }
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn sockets() -> io::Result<(UdpSocket, TcpListener)> {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

fn serve_datagrams(socket: &UdpSocket, state: &Mutex<State>) {
    let mut buffer = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
        if lock(state).over {
            return;
        }
        if let Some(answer) = answer(state, &buffer[..length], false) {
            let _ = socket.send_to(&answer, peer);
        }
    }
}

fn serve_streams(listener: &TcpListener, state: &Mutex<State>) {
    while let Ok((stream, _)) = listener.accept() {
        if lock(state).over {
            return;
        }
        // Whoever connects and says nothing is left after a while.
        let _ = serve_stream(stream, state);
    }
}

fn serve_stream(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        if let Some(answer) = answer(state, &query, true) {
            let length = answer.len() as u16;
            stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
        }
    }
}

/// The answer to a query (RFC 1035 §4.1); none if it is not understood or the server is silent.
fn answer(state: &Mutex<State>, query: &[u8], stream: bool) -> Option<Vec<u8>> {
    let (name, after) = read_name(query, HEADER)?;
    let question = query.get(HEADER..after + 4)?;
    let kind = u16::from_be_bytes([query[after], query[after + 1]]);
    let mut state = lock(state);
    state.asked.push(Asked {
        name: name.clone(),
        kind,
        stream,
    });
    if state.silent {
        return None;
    }
    let truncated = state.truncates && !stream;
    let (known, records) = state.find(&name, kind);
    let records = if truncated { Vec::new() } else { records };
    let mut answer = query.get(..2)?.to_vec();
    // Response, authoritative, recursion desired and available.
    answer.push(0x85 | if truncated { 2 } else { 0 });
    answer.push(0x80 | if known { 0 } else { NXDOMAIN });
    let authority = u16::from(records.is_empty() && !truncated);
    for count in [1, records.len() as u16, authority, 0] {
        answer.extend(count.to_be_bytes());
    }
    answer.extend(question);
    for (owner, ttl, record) in &records {
        put_record(&mut answer, owner, record.kind(), *ttl, &record.encode());
    }
    if authority == 1 {
        put_record(
            &mut answer,
            "test",
            SOA,
            NEGATIVE_TTL,
            &start_of_authority(),
        );
    }
    Some(answer)
}

impl State {
    /// Whether the name exists, and its records, with those of the name that it stands for.
    fn find(&self, name: &str, kind: u16) -> (bool, Vec<(String, u32, Record)>) {
        let mut found = Vec::new();
        let mut known = false;
        let mut name = name.to_owned();
        for _ in 0..8 {
            let mut next = None;
            for (owner, ttl, record) in self.zone.iter().filter(|(owner, _, _)| *owner == name) {
                known = true;
                if record.kind() == kind || record.kind() == CNAME {
                    found.push((owner.clone(), *ttl, record.clone()));
                }
                if let Record::Alias(target) = record {
                    next = Some(target.to_lowercase());
                }
            }
            match next {
                Some(target) => name = target,
                None => break,
            }
        }
        (known, found)
    }
}

fn put_record(message: &mut Vec<u8>, owner: &str, kind: u16, ttl: u32, data: &[u8]) {
    put_name(message, owner);
    message.extend(kind.to_be_bytes());
    message.extend(1_u16.to_be_bytes());
    message.extend(ttl.to_be_bytes());
    message.extend((data.len() as u16).to_be_bytes());
    message.extend(data);
}

/// Says for how long an absence may be remembered (RFC 2308 §5).
fn start_of_authority() -> Vec<u8> {
    let mut data = Vec::new();
    put_name(&mut data, "ns.test");
    put_name(&mut data, "admin.test");
    for number in [1, 60, 60, 60, NEGATIVE_TTL] {
        data.extend(number.to_be_bytes());
    }
    data
}

fn put_name(message: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        put_text(message, label);
    }
    message.push(0);
}

fn put_text(message: &mut Vec<u8>, text: &str) {
    message.push(text.len() as u8);
    message.extend(text.as_bytes());
}

/// The name at `at`, in lower case, and where it ends. Questions are not compressed.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Octets before the question.
const HEADER: usize = 12;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const NXDOMAIN: u8 = 3;

/// Seconds for which an absence may be remembered.
const NEGATIVE_TTL: u32 = 30;
