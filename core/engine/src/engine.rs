//! Starting, stopping, and speaking to the threads.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use base::{SLOTS, Slot};
use sip::{Flow, Protocol};
use socket2::Socket;

use crate::config::{Config, Listen};
use crate::machine::{Answer, Machine};
use crate::mailbox::Mail;
use crate::poll::Poll;
use crate::residents::{Build, Residents};
use crate::services::Services;
use crate::shared::{Ends, Shared};
use crate::socket::{check_free, open_shared};
use crate::stats::Stats;
use crate::tcp::{Upgraded, local_address};
use crate::thread::{Parts, Thread};
use crate::tls::Tls;
use crate::transports::Key;
use crate::udp::UdpSocket;
use crate::wiretap::Wiretap;

/// Running signalling threads. Dropping it stops them.
#[derive(Debug)]
pub struct Engine<M: Machine> {
    handle: Handle<M::Command>,
    listening: Vec<Listen>,
    threads: Vec<JoinHandle<()>>,
}

impl<M: Machine> Engine<M> {
    /// Listens, builds a machine for each slot, and starts the threads: [`bind`] and [`Bound::start`]
    /// in one.
    ///
    /// # Errors
    /// See [`bind`] and [`Bound::start`].
    pub fn start(
        config: Config,
        build: impl FnMut(Slot) -> M + Send + 'static,
        services: Services<M::Event>,
    ) -> io::Result<Self> {
        bind(config)?.start(build, services)
    }

    /// The way to speak to the machines from any thread.
    #[must_use]
    pub fn handle(&self) -> &Handle<M::Command> {
        &self.handle
    }

    /// The addresses that are listened on, with the ports that were chosen.
    #[must_use]
    pub fn listening(&self) -> &[Listen] {
        &self.listening
    }

    /// Lets the threads finish what they were told before, then ends them.
    pub fn stop(self) {
        drop(self);
    }
}

impl<M: Machine> Drop for Engine<M> {
    fn drop(&mut self) {
        for mailbox in &self.handle.shared.mailboxes {
            mailbox.put_waiting(Mail::Stop);
        }
        for thread in self.threads.drain(..) {
            // A thread catches every panic; if one got through, it has been reported by now.
            let _ = thread.join();
        }
    }
}

/// Opens the sockets, so that a port that is taken is found before anything else is built.
///
/// # Errors
/// If an address cannot be listened on: taken by another program, not ours, not permitted. The text
/// names the address, the reason and a remedy.
pub fn bind<C>(config: Config) -> io::Result<Bound<C>> {
    check_free(&config.listen)?;
    let threads = config.thread_count();
    let (shared, ends) = Shared::new(config.limits, config.tls, threads)?;
    let mut listening = config.listen;
    let mut parts = Vec::new();
    for (index, ends) in ends.into_iter().enumerate() {
        let poll = Poll::new()?;
        poll.add(shared.mailboxes[index].waker(), Key::Waker.number(), false)?;
        let (mut udp, mut listeners) = (Vec::new(), Vec::new());
        for listen in &mut listening {
            match listen.protocol {
                Protocol::Udp => {
                    let socket = UdpSocket::new(open_shared(*listen)?)?;
                    listen.address = socket.address();
                    poll.add(&socket, Key::Udp(udp.len()).number(), false)?;
                    udp.push(socket);
                }
                // Nothing from outside may come from inside; WebSockets come from a web server.
                Protocol::Local | Protocol::Ws | Protocol::Wss => {
                    return Err(cannot_listen(*listen));
                }
                Protocol::Tls if shared.tls.load().is_none() => return Err(cannot_listen(*listen)),
                Protocol::Tcp | Protocol::Tls => {
                    let socket = open_shared(*listen)?;
                    listen.address = local_address(&socket).unwrap_or(listen.address);
                    poll.add(&socket, Key::Listener(listeners.len()).number(), false)?;
                    listeners.push((listen.protocol, socket));
                }
            }
        }
        parts.push(BoundThread {
            ends,
            poll,
            udp,
            listeners,
        });
    }
    Ok(Bound {
        handle: Handle { shared },
        listening,
        threads: parts,
    })
}

fn cannot_listen(listen: Listen) -> io::Error {
    let text = format!(
        "cannot listen on {listen}: this transport has no listener of its own, or no certificate"
    );
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Sockets that listen, and mailboxes, before there are machines. Messages wait in the kernel.
#[derive(Debug)]
pub struct Bound<C> {
    handle: Handle<C>,
    listening: Vec<Listen>,
    threads: Vec<BoundThread<C>>,
}

struct BoundThread<C> {
    ends: Ends<C>,
    poll: Poll,
    udp: Vec<UdpSocket>,
    listeners: Vec<(Protocol, Socket)>,
}

impl<C> fmt::Debug for BoundThread<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundThread").finish_non_exhaustive()
    }
}

impl<C> Bound<C> {
    /// The way to speak to the machines; what is said before [`start`](Self::start) waits.
    #[must_use]
    pub fn handle(&self) -> &Handle<C> {
        &self.handle
    }

    /// The addresses that are listened on, with the ports that were chosen.
    #[must_use]
    pub fn listening(&self) -> &[Listen] {
        &self.listening
    }

    /// Builds a machine for each slot and starts the threads. A machine that panics is thrown away and
    /// built again.
    ///
    /// # Errors
    /// If a thread cannot be made.
    pub fn start<M>(
        self,
        build: impl FnMut(Slot) -> M + Send + 'static,
        services: Services<M::Event>,
    ) -> io::Result<Engine<M>>
    where
        M: Machine<Command = C>,
        C: Send + 'static,
    {
        let count = self.threads.len();
        let build: Build<M> = Arc::new(Mutex::new(build));
        let services = Arc::new(services);
        let mut engine = Engine {
            handle: self.handle,
            listening: self.listening,
            threads: Vec::new(),
        };
        for (index, bound) in self.threads.into_iter().enumerate() {
            let parts = Parts {
                index,
                shared: Arc::clone(&engine.handle.shared),
                ends: bound.ends,
                poll: bound.poll,
                udp: bound.udp,
                listeners: bound.listeners,
                residents: Residents::new(index, count, Arc::clone(&build), Arc::clone(&services)),
            };
            let thread = std::thread::Builder::new()
                .name(format!("sip-{index}"))
                .spawn(move || Thread::new(parts).run())?;
            engine.threads.push(thread);
        }
        Ok(engine)
    }
}

/// Speaks to the machines from any thread. Nothing here waits.
pub struct Handle<C> {
    shared: Arc<Shared<C>>,
}

impl<C> Handle<C> {
    /// Gives a command to the machine of a slot.
    ///
    /// # Errors
    /// [`Full`] with the command, if too much waits for the slot's thread.
    pub fn command(&self, slot: Slot, command: C) -> Result<(), Full<C>> {
        match self
            .shared
            .mailbox_of(slot)
            .put(Mail::Command(slot, command))
        {
            Err(Mail::Command(_, command)) => Err(Full(command)),
            _ => Ok(()),
        }
    }

    /// Gives a command to the machine of every slot.
    ///
    /// # Errors
    /// The slots that did not get it, because too much waits for their threads.
    pub fn broadcast(&self, command: impl Fn() -> C) -> Result<(), Vec<Slot>> {
        let missed: Vec<Slot> = (0..SLOTS)
            .map(|number| Slot::new(number as u8))
            .filter(|&slot| self.command(slot, command()).is_err())
            .collect();
        if missed.is_empty() {
            Ok(())
        } else {
            Err(missed)
        }
    }

    /// Gives a media worker's event to the slot that owns the session.
    ///
    /// # Errors
    /// [`Full`] with the event, if too much waits for the slot's thread.
    pub fn media(&self, event: media::Event) -> Result<(), Full<media::Event>> {
        let mailbox = self.shared.mailbox_of(event.session().slot());
        match mailbox.put(Mail::Media(event)) {
            Err(Mail::Media(event)) => Err(Full(event)),
            _ => Ok(()),
        }
    }

    /// Gives the answer to a question to the slot that asked.
    ///
    /// # Errors
    /// [`Full`] with the answer, if too much waits for the slot's thread.
    pub fn answer(&self, answer: Answer) -> Result<(), Full<Answer>> {
        let mailbox = self.shared.mailbox_of(answer.id.slot());
        match mailbox.put(Mail::Answer(answer)) {
            Err(Mail::Answer(answer)) => Err(Full(answer)),
            _ => Ok(()),
        }
    }

    /// Takes in a WebSocket that a web server has opened for SIP.
    ///
    /// # Errors
    /// [`Full`] with the connection, if too much waits for the thread that should have it.
    pub fn adopt(&self, upgraded: Box<Upgraded>) -> Result<(), Full<Box<Upgraded>>> {
        // Descriptors are dealt out evenly, so their numbers are too.
        let thread = upgraded.socket.as_raw_fd() as usize % self.shared.threads();
        match self.shared.mailboxes[thread].put(Mail::Adopt(upgraded)) {
            Err(Mail::Adopt(upgraded)) => Err(Full(upgraded)),
            _ => Ok(()),
        }
    }

    /// Takes certificates and trust for new connections; open ones stay as they are.
    pub fn set_tls(&self, tls: Tls) {
        self.shared.tls.store(tls);
    }

    /// Whoever is at the other end of this flow has proved who it is, in another life of this server
    /// perhaps; see [`Out::vouch`](crate::Out::vouch).
    pub fn vouch(&self, flow: &Flow) {
        self.shared.admission.vouch(Instant::now(), flow);
    }

    /// Begins to copy all messages that come and go; `None` if somebody else listens.
    #[must_use]
    pub fn wiretap(&self) -> Option<Wiretap> {
        Wiretap::begin(&self.shared.taps)
    }

    /// The counters of all threads.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<C> fmt::Debug for Handle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// Too much waits for the thread, or it has ended; here is back what was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full<T>(pub T);

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too much waits for the signalling thread")
    }
}

impl<T: fmt::Debug> std::error::Error for Full<T> {}
