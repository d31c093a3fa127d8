//! Clients that come over TCP.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ice::turn::Client;
use ice::turn::channel::{Frame, frame};

/// All streams, by their number.
#[derive(Default)]
pub(crate) struct Streams {
    streams: HashMap<u32, Stream>,
    last: u32,
}

/// One client's stream.
pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    pub(crate) client: Client,
    heard: Instant,
    /// What came and is not whole yet.
    input: Vec<u8>,
    /// What could not be written yet.
    output: Vec<u8>,
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Closed,
}

impl Streams {
    /// Takes a new stream in; `None` if there are 1024 already: it is closed then.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        socket: TcpStream,
        listener: u16,
    ) -> io::Result<Option<&Stream>> {
        if self.streams.len() >= MOST {
            return Ok(None);
        }
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let address = socket.peer_addr()?;
        while self.last == 0 || self.streams.contains_key(&self.last) {
            self.last = self.last.wrapping_add(1);
        }
        let client = Client {
            address,
            listener,
            connection: self.last,
        };
        let stream = Stream {
            socket,
            client,
            heard: now,
            input: Vec::new(),
            output: Vec::new(),
        };
        Ok(Some(self.streams.entry(self.last).or_insert(stream)))
    }

    pub(crate) fn of(&mut self, number: u32) -> Option<&mut Stream> {
        self.streams.get_mut(&number)
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<Stream> {
        self.streams.remove(&number)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Who has said nothing for a minute.
    pub(crate) fn silent(&self, now: Instant) -> Vec<Client> {
        let silent = |stream: &&Stream| now.saturating_duration_since(stream.heard) >= SILENCE;
        let streams = self.streams.values().filter(silent);
        streams.map(|stream| stream.client).collect()
    }
}

impl Stream {
    /// Reads what has come, once, and hands over what is whole.
    pub(crate) fn read(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        mut message: impl FnMut(Client, &[u8]),
    ) -> State {
        match self.socket.read(buffer) {
            Ok(0) => return State::Closed,
            Ok(length) => self.input.extend_from_slice(&buffer[..length]),
            Err(error) if is_passing(&error) => return State::Open,
            Err(_) => return State::Closed,
        }
        self.heard = now;
        let mut start = 0;
        let state = loop {
            match frame(&self.input[start..]) {
                Frame::Whole(length) => {
                    message(self.client, &self.input[start..start + length]);
                    start += length;
                }
                Frame::Incomplete => break State::Open,
                Frame::Broken => break State::Closed,
            }
        };
        self.input.drain(..start);
        state
    }

    /// Writes octets, or keeps them until they can be written. At most 256 KB wait; of more, what comes from
    /// peers is lost, as datagrams are. `true` if some wait.
    pub(crate) fn write(&mut self, octets: &[u8]) -> bool {
        let written = if self.output.is_empty() {
            self.socket.write(octets).unwrap_or(0)
        } else if self.output.len() + octets.len() > BACKLOG {
            octets.len()
        } else {
            0
        };
        self.output.extend_from_slice(&octets[written..]);
        !self.output.is_empty()
    }

    /// Writes what waits; `true` if some still does.
    pub(crate) fn flush(&mut self) -> bool {
        let written = self.socket.write(&self.output).unwrap_or(0);
        self.output.drain(..written);
        !self.output.is_empty()
    }
}

/// Whether trying again later helps.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Streams at once.
const MOST: usize = 1024;

/// Octets that may wait to be written to one stream.
const BACKLOG: usize = 256 << 10;

/// How long a stream without a relay may be silent.
const SILENCE: Duration = Duration::from_secs(60);
