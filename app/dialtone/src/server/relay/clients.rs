//! Sockets and connections of those who ask.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use ng::Frame;
use relay::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::settings::values::Listen;

/// A message and whoever sent it.
pub(super) struct Message {
    pub(super) from: Client,
    pub(super) octets: Vec<u8>,
}

/// All clients.
pub(super) struct Clients {
    /// Their place is the number of the way.
    sockets: Vec<Arc<UdpSocket>>,
    streams: Streams,
    addresses: Vec<String>,
}

/// Connections by number, with what is to be written.
type Streams = Arc<Mutex<HashMap<u64, Sender<Vec<u8>>>>>;

impl Clients {
    /// Listens; what comes goes to `messages`.
    pub(super) fn listen(listen: &[Listen], messages: &Sender<Message>) -> Result<Self> {
        let mut clients = Self {
            sockets: Vec::new(),
            streams: Streams::default(),
            addresses: Vec::new(),
        };
        for Listen { protocol, address } in listen {
            let bound = match protocol {
                sip::Protocol::Udp => clients.datagrams(*address, messages.clone()),
                _ => clients.connections(*address, messages.clone()),
            };
            bound.with_context(|| format!("{protocol}:{address} can't be had for the relay"))?;
            if !address.ip().is_loopback() {
                tracing::warn!(%address, "whoever reaches this port controls the relay");
            }
        }
        Ok(clients)
    }

    /// Where clients are awaited, for people to read.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    /// Sends a reply. What can't be sent is dropped: the client asks again.
    pub(super) fn send(&mut self, to: Client, reply: Vec<u8>) {
        if let Some(socket) = usize::try_from(to.way)
            .ok()
            .and_then(|w| self.sockets.get(w))
        {
            if let Err(error) = socket.try_send_to(&reply, to.remote) {
                tracing::debug!(%error, "a reply could not be sent");
            }
            return;
        }
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let full = streams
            .get(&to.way)
            .is_some_and(|stream| stream.try_send(reply).is_err());
        if full {
            // Its writer ends with the channel.
            streams.remove(&to.way);
        }
    }

    fn datagrams(&mut self, address: SocketAddr, messages: Sender<Message>) -> Result<()> {
        let socket = StdUdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        // A proxy with many processes asks in bursts; the system may grant less.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(BURST);
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        self.addresses.push(format!("udp:{}", socket.local_addr()?));
        let way = self.sockets.len() as u64;
        self.sockets.push(Arc::clone(&socket));
        tokio::spawn(async move {
            let mut buffer = vec![0; LONGEST];
            loop {
                let Ok((length, remote)) = socket.recv_from(&mut buffer).await else {
                    // An error of an earlier reply, which nobody waits for.
                    continue;
                };
                let from = Client { way, remote };
                let octets = buffer[..length].to_vec();
                if messages.send(Message { from, octets }).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    fn connections(&mut self, address: SocketAddr, messages: Sender<Message>) -> Result<()> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        self.addresses
            .push(format!("tcp:{}", listener.local_addr()?));
        let streams = Arc::clone(&self.streams);
        tokio::spawn(accept(listener, streams, messages));
        Ok(())
    }
}

async fn accept(listener: TcpListener, streams: Streams, messages: Sender<Message>) {
    let mut next = FIRST_STREAM;
    loop {
        let Ok((stream, remote)) = listener.accept().await else {
            // Out of descriptors, most likely: not at once again.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let (replies, to_write) = mpsc::channel(REPLIES);
        next += 1;
        {
            let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
            if streams.len() >= MOST_STREAMS {
                continue;
            }
            streams.insert(next, replies);
        }
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let from = Client { way: next, remote };
        let (messages, streams) = (messages.clone(), Arc::clone(&streams));
        tokio::spawn(async move {
            tokio::select! {
                () = read_all(read, from, messages) => {}
                () = write_all(write, to_write) => {}
            }
            let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
            streams.remove(&from.way);
        });
    }
}

/// Cuts messages out of a stream until it ends, or makes no sense.
async fn read_all(mut stream: OwnedReadHalf, from: Client, messages: Sender<Message>) {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        match Frame::first(&buffer) {
            Ok(Some((_, used))) => {
                let octets = buffer[..used].trim_ascii_start().to_vec();
                buffer.drain(..used);
                if messages.send(Message { from, octets }).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(None) if buffer.len() < LONGEST => {}
            _ => {
                return tracing::warn!(remote = %from.remote, "a client of the relay makes no sense");
            }
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

async fn write_all(mut stream: OwnedWriteHalf, mut replies: Receiver<Vec<u8>>) {
    while let Some(reply) = replies.recv().await {
        if stream.write_all(&reply).await.is_err() {
            return;
        }
    }
}

/// The longest message: a datagram's. A connection with a longer one is closed.
const LONGEST: usize = 65_536;

/// What a socket's buffer should hold, in octets.
const BURST: usize = 4 << 20;

/// Connections are numbered from here, sockets below.
const FIRST_STREAM: u64 = 1 << 32;

/// Most connections; further ones are closed at once.
const MOST_STREAMS: usize = 256;

/// Replies that may wait for a slow reader; then its connection is closed.
const REPLIES: usize = 1024;
