//! Clients that take their time, to keep a server busy with nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::{self, AddressFamily, SocketType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Many slow clients at one address. They come from an address of their own, as strangers do.
#[derive(Debug)]
pub struct SlowClients {
    server: SocketAddr,
    config: Arc<ClientConfig>,
    drip: Vec<u8>,
    clients: Vec<Client>,
    /// Connections that the server has closed.
    pub closed: u64,
}

#[derive(Debug)]
enum Client {
    /// Says nothing.
    Silent(TcpStream),
    /// Begins a TLS handshake, octet by octet, and says no more.
    Hesitant(TcpStream, usize),
    /// Was not let in, or has been thrown out.
    Outside,
    /// Makes the handshake and sends a request octet by octet.
    Dripping(Box<StreamOwned<ClientConnection, TcpStream>>, usize),
}

impl SlowClients {
    /// `count` clients of `server`, which trust `root`; a third of them says nothing, a third begins
    /// a handshake, a third sends `drip`.
    ///
    /// # Errors
    /// When `root` is no certificate.
    pub fn open(server: SocketAddr, root: &Path, count: usize, drip: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(root)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut slow = Self {
            server,
            config: Arc::new(config),
            drip: drip.as_bytes().to_vec(),
            clients: Vec::with_capacity(count),
            closed: 0,
        };
        for kind in 0..count {
            let client = slow.client(kind);
            slow.clients.push(client);
        }
        Ok(slow)
    }

    /// Every client sends its next octet, again and again until `until`; whoever has been thrown out
    /// comes again, some at a time.
    pub fn go_on(&mut self, until: Instant) {
        while Instant::now() < until {
            let mut again = AGAIN;
            for index in 0..self.clients.len() {
                if self.clients[index].next(&self.drip).is_err() {
                    self.closed += 1;
                    self.clients[index] = Client::Outside;
                }
                if again > 0 && matches!(self.clients[index], Client::Outside) {
                    again -= 1;
                    self.clients[index] = self.client(index);
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// How many are connected now.
    #[must_use]
    pub fn inside(&self) -> usize {
        let inside = |client: &&Client| !matches!(client, Client::Outside);
        self.clients.iter().filter(inside).count()
    }

    fn client(&self, kind: usize) -> Client {
        self.connected(kind).unwrap_or(Client::Outside)
    }

    fn connected(&self, kind: usize) -> Result<Client> {
        let stream = connect(self.server)?;
        Ok(match kind % 3 {
            0 => Client::Silent(stream),
            1 => Client::Hesitant(stream, 0),
            _ => {
                let name = ServerName::try_from("localhost")?;
                let session = ClientConnection::new(Arc::clone(&self.config), name)?;
                let mut stream = StreamOwned::new(session, stream);
                stream.conn.complete_io(&mut stream.sock)?;
                Client::Dripping(Box::new(stream), 0)
            }
        })
    }
}

impl Client {
    fn next(&mut self, drip: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Outside => Ok(()),
            Self::Silent(stream) => is_open(stream),
            Self::Hesitant(stream, sent) => {
                if let Some(octet) = HELLO.get(*sent..=*sent) {
                    stream.write_all(octet)?;
                    *sent += 1;
                }
                is_open(stream)
            }
            Self::Dripping(stream, sent) => {
                if let Some(octet) = drip.get(*sent..=*sent) {
                    stream.write_all(octet)?;
                    *sent += 1;
                }
                is_open(&stream.sock)
            }
        }
    }
}

/// Clients that come again in a tenth of a second.
const AGAIN: u32 = 20;

/// The beginning of a TLS record with a ClientHello of 512 octets.
const HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

/// Connects from 127.0.0.66.
fn connect(server: SocketAddr) -> Result<TcpStream> {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let here = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 66), 0));
    net::bind(&socket, &here)?;
    net::connect(&socket, &server).context("connect a slow client")?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

fn is_open(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(true)?;
    let read = stream.read(&mut [0; 1024]);
    stream.set_nonblocking(false)?;
    match read {
        Ok(0) => Err(ErrorKind::ConnectionReset.into()),
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}
