//! A phone at the network: a [`Phone`] with sockets and a [`Voice`], for one call at a time.
//!
//! Whoever owns it calls [`Softphone::step`] often, or after each [`Softphone::wait`], and says a packet every 20 ms.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use engine::{Input, Machine, Out};
use media::dtls::Identity;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sip::{Flow, Message, TlsPeer};

use crate::link::{Line, Link};
use crate::phone::{CallNumber, Command, Event, Phone, Protection, Settings, Sound};
use crate::voice::{Error, Voice};

/// A phone that speaks SIP by a [`Link`].
pub struct Softphone {
    phone: Phone,
    flow: Flow,
    line: Line,
    /// For the next call.
    rtp: UdpSocket,
    voice: Option<(CallNumber, Voice)>,
    identity: Arc<Identity>,
    /// SSRC and frequency of what it says.
    tone: (u32, f32),
    out: Out<Event>,
    /// What has happened; taken by [`event`](Self::event). The one call and its owner's patience are the bound.
    events: VecDeque<Event>,
}

impl Softphone {
    /// A phone at free ports of the address through which `server` is reached; `set` changes its settings. `seed`
    /// makes its identifiers and keys. It says a tone of `hertz`.
    ///
    /// # Errors
    /// When there are no ports.
    pub fn new(
        (user, password): (&str, &str),
        server: SocketAddr,
        identity: &Arc<Identity>,
        (seed, hertz): ([u8; 32], f32),
        set: impl FnOnce(&mut Settings),
    ) -> io::Result<Self> {
        Self::over(
            &Link::Udp,
            (user, password),
            server,
            identity,
            (seed, hertz),
            set,
        )
    }

    /// The same with another link than UDP.
    ///
    /// # Errors
    /// When there are no ports, or the server can't be reached or is another.
    pub fn over(
        link: &Link,
        (user, password): (&str, &str),
        server: SocketAddr,
        identity: &Arc<Identity>,
        (seed, hertz): ([u8; 32], f32),
        set: impl FnOnce(&mut Settings),
    ) -> io::Result<Self> {
        let local = local_towards(server)?;
        let line = Line::open(link, local, server)?;
        let flow = Flow {
            protocol: link.protocol(),
            local: line.local()?,
            remote: server,
            connection: None,
            tls: TlsPeer::ANY,
        };
        let mut settings = Settings::new(user, password, &server.ip().to_string(), flow);
        settings.calls = 1;
        set(&mut settings);
        let rtp = UdpSocket::bind(local)?;
        let mut phone = Phone::new(settings, seed);
        phone.take_rtp_at(rtp.local_addr()?);
        let ssrc = u32::from_be_bytes([seed[0], seed[1], seed[2], seed[3]]);
        Ok(Self {
            phone,
            flow,
            line,
            rtp,
            voice: None,
            identity: Arc::clone(identity),
            tone: (ssrc, hertz),
            out: Out::new(),
            events: VecDeque::new(),
        })
    }

    /// How a phone with this certificate protects its sound by a handshake.
    #[must_use]
    pub fn by_handshake(identity: &Identity) -> Protection {
        Protection::Dtls(identity.fingerprint())
    }

    /// Does what its user does.
    ///
    /// # Errors
    /// Of the system, or of what was agreed.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        self.phone
            .handle(now, Input::Command(command), &mut self.out);
        self.flush(now)
    }

    /// Takes all that has come, and does what is due.
    ///
    /// # Errors
    /// Of the system, or of what was agreed.
    pub fn step(&mut self, now: Instant) -> Result<(), Error> {
        for message in self.line.receive().map_err(Error::Sip)? {
            if let Ok(message) = Message::parse(&message)
                && message.check().is_ok()
            {
                let flow = self.flow;
                let input = Input::Message {
                    flow,
                    message: &message,
                };
                self.phone.handle(now, input, &mut self.out);
                self.flush(now)?;
            }
        }
        if self.phone.deadline().is_some_and(|at| at <= now) {
            self.phone.handle(now, Input::Timer, &mut self.out);
            self.flush(now)?;
        }
        self.voice
            .as_mut()
            .map_or(Ok(()), |(_, voice)| voice.listen(now))
    }

    /// Waits until something comes, or it is `until`, or a signal comes.
    ///
    /// # Errors
    /// Of the system.
    pub fn wait(&self, now: Instant, until: Instant) -> io::Result<()> {
        let due = self.deadline().map_or(until, |due| due.min(until));
        let left = due
            .saturating_duration_since(now)
            .as_micros()
            .div_ceil(1000);
        let left = PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX));
        let sound = self.voice.as_ref().map(|(_, voice)| voice.socket());
        let sound = sound.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        let sockets = [Some(self.line.poll_fd()), sound].into_iter();
        let mut sockets: Vec<_> = sockets.flatten().collect();
        match poll(&mut sockets, left) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What has happened next.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The sound of the call that is up, or was last, or that has sound before its answer.
    pub fn voice(&mut self) -> Option<&mut Voice> {
        self.voice.as_mut().map(|(_, voice)| voice)
    }

    /// When something is due although nothing comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.phone.deadline()
    }

    fn flush(&mut self, now: Instant) -> Result<(), Error> {
        for send in self.out.send.drain(..) {
            let message = &self.out.bytes[send.range];
            let sent = self.line.send(message, send.flow.remote);
            sent.map_err(Error::Sip)?;
        }
        self.out.bytes.clear();
        for event in std::mem::take(&mut self.out.events) {
            match &event {
                Event::Early { call, sound }
                | Event::Up {
                    call,
                    sound: Some(sound),
                    ..
                } => self.agree(now, *call, sound)?,
                _ => {}
            }
            self.events.push_back(event);
        }
        Ok(())
    }

    /// The sound of a call begins, or goes on otherwise.
    fn agree(&mut self, now: Instant, call: CallNumber, sound: &Sound) -> Result<(), Error> {
        if let Some((_, voice)) = self.voice.as_mut().filter(|(number, _)| *number == call) {
            return voice.agree(sound, &self.identity, now);
        }
        let fresh = UdpSocket::bind(SocketAddr::new(self.flow.local.ip(), 0))?;
        self.phone.take_rtp_at(fresh.local_addr()?);
        let socket = std::mem::replace(&mut self.rtp, fresh);
        let voice = Voice::new(socket, sound, &self.identity, self.tone, now)?;
        self.voice = Some((call, voice));
        Ok(())
    }
}

/// A free port of the address through which `server` is reached.
fn local_towards(server: SocketAddr) -> io::Result<SocketAddr> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let probe = UdpSocket::bind(any)?;
    probe.connect(server)?;
    Ok(SocketAddr::new(probe.local_addr()?.ip(), 0))
}
