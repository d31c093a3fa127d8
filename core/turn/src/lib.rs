//! The TURN and STUN server: a thread with the sockets of clients and relays, around the machine
//! [`ice::turn::Server`].
//!
//! - `thread`: the loop. - `streams`: clients that come over TCP. - `relays`: sockets towards peers.
//!
//! ```no_run
//! use turn::{Listen, Relays, Settings, Transport, Turn};
//! let mut clients = ice::turn::Config::default();
//! clients.users.set_secret("shared with the web server");
//! let server = Turn::start(Settings {
//!     listen: vec![Listen { transport: Transport::Udp, address: "0.0.0.0:3478".parse()? }],
//!     relays: Relays {
//!         bind: ["0.0.0.0".parse()?].into(),
//!         advertise: ["198.51.100.1".parse()?].into(),
//!         ports: 20_000..=29_999,
//!     },
//!     clients,
//! })?;
//! // Until it is dropped.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It does not encrypt: browsers need TLS only to get through firewalls that let nothing else pass.

mod relays;
mod streams;
mod thread;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ice::turn::Config;
use rustix::event::{EventfdFlags, eventfd};

use thread::Thread;

/// What carries the words of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
}

/// Where clients are awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// By what they come.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// Where relays are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relays {
    /// The addresses of their sockets, at most one of each family.
    pub bind: Vec<IpAddr>,
    /// The addresses that clients are told, at most one of each family.
    pub advertise: Vec<IpAddr>,
    /// Their ports.
    pub ports: RangeInclusive<u16>,
}

/// What the server needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients are awaited.
    pub listen: Vec<Listen>,
    /// Where relays are.
    pub relays: Relays,
    /// Who may have them. The families follow from [`Relays::advertise`].
    pub clients: Config,
}

/// The running server; dropping it closes all relays.
#[derive(Debug)]
pub struct Turn {
    shared: Arc<Shared>,
    listening: Vec<Listen>,
    thread: Option<JoinHandle<()>>,
}

/// What its thread is told.
#[derive(Debug)]
struct Shared {
    bell: OwnedFd,
    stop: AtomicBool,
    /// The newest wins.
    config: Mutex<Option<Config>>,
}

enum Listener {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

impl Turn {
    /// Binds all sockets that clients come to, and starts the thread.
    ///
    /// # Errors
    /// If an address can't be had.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let listeners = settings.listen.iter().map(|listen| Listener::bind(*listen));
        let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
        let listening = listeners.iter().map(Listener::listening);
        let listening = listening.collect::<io::Result<Vec<_>>>()?;
        let shared = Arc::new(Shared {
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stop: AtomicBool::new(false),
            config: Mutex::new(None),
        });
        let thread = Thread::new(settings, listeners, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("turn".into())
            .spawn(move || thread.run())?;
        Ok(Self {
            shared,
            listening,
            thread: Some(thread),
        })
    }

    /// Where clients are awaited, with the ports that the system chose.
    #[must_use]
    pub fn listening(&self) -> &[Listen] {
        &self.listening
    }

    /// Takes other users, realm, policy and limits; relays stay.
    pub fn configure(&self, config: Config) {
        let mut place = self
            .shared
            .config
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *place = Some(config);
        drop(place);
        self.ring();
    }

    fn ring(&self) {
        // It fails only when the bell has rung very often already.
        let _ = rustix::io::write(&self.shared.bell, &1_u64.to_ne_bytes());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.ring();
        if let Some(thread) = self.thread.take() {
            // If it has panicked, that was printed.
            let _ = thread.join();
        }
    }
}

impl Listener {
    fn bind(listen: Listen) -> io::Result<Self> {
        Ok(match listen.transport {
            Transport::Udp => {
                let socket = UdpSocket::bind(listen.address)?;
                socket.set_nonblocking(true)?;
                Self::Udp(socket)
            }
            Transport::Tcp => {
                let socket = TcpListener::bind(listen.address)?;
                socket.set_nonblocking(true)?;
                Self::Tcp(socket)
            }
        })
    }

    fn listening(&self) -> io::Result<Listen> {
        let (transport, address) = match self {
            Self::Udp(socket) => (Transport::Udp, socket.local_addr()?),
            Self::Tcp(socket) => (Transport::Tcp, socket.local_addr()?),
        };
        Ok(Listen { transport, address })
    }
}
