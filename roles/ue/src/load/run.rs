//! One run: sockets, clock and pace around the window.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use sip::{Message, Method};

use super::callee::Callee;
use super::endpoint::{Endpoint, ParkedEndpoint};
use super::outbox::Outbox;
use super::request::{self, Script};
use super::socket::BATCH;
use super::window::{Rules, Window};
use super::{Accounts, Job, LoadError, LoadOptions, Report, Tally, Transport, media};

/// What a run is busy with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Operations, or streams of RTP. Registrations and the set-up of calls for RTP come before it.
    Load,
    /// The load is over; calls with RTP are hung up.
    End,
}

/// What is known in the middle of a run.
#[derive(Debug)]
pub struct Progress<'a> {
    /// What the run is busy with.
    pub phase: Phase,
    /// Since the run began.
    pub elapsed: Duration,
    /// What happened so far.
    pub tally: &'a Tally,
    /// Operations under way.
    pub outstanding: usize,
}

/// Told about the progress at the begin of each phase and once a second; ends the run early with
/// [`ControlFlow::Break`].
pub type Observer<'a> = dyn FnMut(&Progress<'_>) -> ControlFlow<()> + 'a;

/// Does what `options` say and reports what came of it.
///
/// # Errors
/// If the run could not be made at all: see [`LoadError`]. Operations that fail are in the report.
pub fn run(options: &LoadOptions, observe: &mut Observer<'_>) -> Result<Report, LoadError> {
    let target = options.address()?;
    let local = match options.local {
        Some(ip) => ip,
        None => ip_towards(target).map_err(LoadError::io("no way to the target"))?,
    };
    match options.job {
        Job::Options => Party::caller(options, target, local)?.load(options, observe),
        Job::Register => register(options, target, local, observe),
        Job::Call => call(options, target, local, observe),
        Job::Rtp => media::run(options, target, local, observe),
    }
}

fn register(
    options: &LoadOptions,
    target: SocketAddr,
    local: IpAddr,
    observe: &mut Observer<'_>,
) -> Result<Report, LoadError> {
    let mut party = Party::caller(options, target, local)?;
    let report = party.load(options, observe)?;
    party.unregister(options, &options.callers, report.started);
    Ok(report)
}

fn call(
    options: &LoadOptions,
    target: SocketAddr,
    local: IpAddr,
    observe: &mut Observer<'_>,
) -> Result<Report, LoadError> {
    let mut callee = Party::callee(options, target, local)?;
    let mut caller = Party::caller(options, target, local)?;
    if !options.proxy {
        callee.register(options, &options.callees)?;
        caller.register(options, &options.callers)?;
    }
    caller.set_callee(options, callee.local);
    let callee = callee.answer_in_thread()?;
    let report = caller.load(options, observe);
    let mut callee = callee.stop()?;
    if !options.proxy {
        caller.unregister(options, &options.callers, u64::MAX);
        callee.unregister(options, &options.callees, u64::MAX);
    }
    let mut report = report?;
    report.callee = Some(callee.callee.seen);
    Ok(report)
}

/// One of our sockets, and what it plays.
pub(super) struct Party {
    socket: Endpoint,
    pub(super) local: SocketAddr,
    target: SocketAddr,
    script: Script,
    pub(super) callee: Callee,
    out: Outbox,
    /// Keeps the port that we offer for RTP in calls without media.
    _rtp: UdpSocket,
}

impl Party {
    /// The party that starts everything.
    pub(super) fn caller(
        options: &LoadOptions,
        target: SocketAddr,
        local: IpAddr,
    ) -> Result<Self, LoadError> {
        let mut party = Self::open(options, options.transport, target, local)?;
        let connected = party.socket.connect(target);
        connected.map_err(LoadError::io("no way to the target"))?;
        Ok(party)
    }

    /// A party that hears from whatever address the server uses.
    pub(super) fn callee(
        options: &LoadOptions,
        target: SocketAddr,
        local: IpAddr,
    ) -> Result<Self, LoadError> {
        // A proxy that knows no users finds the called party by its address alone.
        let transport = if options.proxy {
            Transport::Udp
        } else {
            options.transport
        };
        Self::open(options, transport, target, local)
    }

    fn open(
        options: &LoadOptions,
        transport: Transport,
        target: SocketAddr,
        ip: IpAddr,
    ) -> Result<Self, LoadError> {
        let no_socket = LoadError::io;
        let socket = Endpoint::open(options, transport, ip, target)?;
        let locals = socket.locals().map_err(no_socket("no SIP socket"))?;
        // There is always one.
        let local = locals.first().copied().unwrap_or(target);
        let rtp = UdpSocket::bind((ip, 0)).map_err(no_socket("no RTP socket"))?;
        let rtp_port = rtp.local_addr().map_err(no_socket("no RTP socket"))?.port();
        Ok(Self {
            socket,
            local,
            target,
            script: Script {
                run: run_number(),
                transport,
                locals,
                domain: options.domain().to_owned(),
                callers: options.callers.clone(),
                callee: request::Callee::Users(options.callees.clone()),
                expires: 3600 + u32::try_from(options.duration.as_secs()).unwrap_or(u32::MAX / 2),
                rtp_port,
            },
            callee: Callee::new(local, transport, rtp_port),
            out: Outbox::default(),
            _rtp: rtp,
        })
    }

    /// Whom the calls go to: users of the domain, or the address `callee`.
    pub(super) fn set_callee(&mut self, options: &LoadOptions, callee: SocketAddr) {
        if options.proxy {
            self.script.callee = request::Callee::Address(callee);
        }
    }

    /// The operations of this party; none has begun.
    pub(super) fn window(&self, options: &LoadOptions, size: usize) -> Window {
        let rules = Rules {
            job: options.job,
            timeout: options.timeout,
            hold: (options.job != Job::Rtp).then_some(options.hold),
            refresh: options.refresh,
        };
        Window::new(self.script.clone(), rules, size, Instant::now())
    }

    /// Registers all `users` at this party's address.
    pub(super) fn register(
        &mut self,
        options: &LoadOptions,
        users: &Accounts,
    ) -> Result<(), LoadError> {
        self.bind(options, users, self.script.expires)
    }

    /// Removes the registrations of the first `most` of `users`, unless they shall stay. What can't be
    /// removed expires.
    pub(super) fn unregister(&mut self, options: &LoadOptions, users: &Accounts, most: u64) {
        if !options.keep && most > 0 {
            let _ = self.bind(options, &users.first(most), 0);
        }
    }

    fn bind(
        &mut self,
        options: &LoadOptions,
        users: &Accounts,
        expires: u32,
    ) -> Result<(), LoadError> {
        let script = Script {
            run: run_number(),
            callers: users.clone(),
            expires,
            ..self.script.clone()
        };
        let rules = Rules {
            job: Job::Register,
            timeout: options.timeout,
            hold: None,
            refresh: false,
        };
        let count = u64::from(users.count());
        let mut window = Window::new(script, rules, REGISTRATIONS, Instant::now());
        let pace = Pace {
            rate: None,
            count: Some(count),
            duration: options.timeout,
            drain: options.timeout,
        };
        self.drive(&mut window, &pace, &mut |_| ControlFlow::Continue(()))?;
        let tally = window.tally();
        match tally.failures.iter().next() {
            Some((failure, count)) => Err(LoadError::Registration {
                count: *count,
                failure: *failure,
            }),
            None => Ok(()),
        }
    }

    fn load(
        &mut self,
        options: &LoadOptions,
        observe: &mut Observer<'_>,
    ) -> Result<Report, LoadError> {
        let mut window = self.window(options, options.window());
        let pace = Pace {
            rate: options.rate,
            count: options.count,
            duration: options.duration,
            drain: options.timeout + options.hold,
        };
        let mut elapsed = Duration::ZERO;
        if tell(Phase::Load, elapsed, &window, observe).is_continue() {
            elapsed = self.drive(&mut window, &pace, observe)?;
        }
        // Nothing is left to break off.
        let _ = tell(Phase::End, elapsed, &window, observe);
        Ok(Report::new(options.job, window.tally(), elapsed, None))
    }

    /// Runs the window at `pace` to its end; returns how long that took.
    fn drive(
        &mut self,
        window: &mut Window,
        pace: &Pace,
        observe: &mut Observer<'_>,
    ) -> Result<Duration, LoadError> {
        let began = Instant::now();
        let mut sweep = began + SWEEP;
        let mut report = began + REPORT;
        let mut starting = true;
        loop {
            let now = Instant::now();
            let elapsed = now.duration_since(began);
            starting &= elapsed < pace.duration;
            let started = window.tally().started;
            if starting {
                self.start(now, window, pace.allowed(elapsed).saturating_sub(started));
            }
            let is_done = pace
                .count
                .is_some_and(|count| window.tally().started >= count);
            let late = elapsed >= pace.duration + pace.drain;
            if (is_done || !starting) && window.outstanding() == 0 || late {
                return Ok(elapsed);
            }
            if now >= sweep {
                window.sweep(now, &mut self.out);
                self.callee.sweep(now, &mut self.out);
                sweep = now + SWEEP;
            }
            if now >= report {
                report += REPORT;
                starting &= tell(Phase::Load, elapsed, window, observe).is_continue();
            }
            self.flush(window)?;
            if self.take(window)? == 0 {
                let rest = pace.idle(elapsed, starting).min(sweep - now);
                self.socket.wait(rest).map_err(LoadError::io("wait"))?;
            }
        }
    }

    fn start(&mut self, now: Instant, window: &mut Window, most: u64) {
        for _ in 0..most {
            if !window.begin(now, &mut self.out) {
                break;
            }
        }
    }

    /// Takes whatever has come and sends what follows; returns how much came.
    pub(super) fn take(&mut self, window: &mut Window) -> Result<usize, LoadError> {
        let mut all = 0;
        loop {
            let now = Instant::now();
            let (callee, out) = (&mut self.callee, &mut self.out);
            let received = self.socket.receive(|bytes, from| {
                let Ok(message) = Message::parse(bytes) else {
                    return;
                };
                if message.method().is_none() {
                    window.handle(now, &message, out);
                    return;
                }
                callee.handle(now, from, &message, out);
                if message.method() == Some(Method::Bye) {
                    window.ended_by_peer(message.call_id());
                }
            });
            let received = self.refusal(window, received)?;
            all += received;
            self.flush(window)?;
            if received < BATCH {
                return Ok(all);
            }
        }
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, window: &Window) -> Result<(), LoadError> {
        let sent = self.socket.send(&mut self.out);
        self.refusal(window, sent)
    }

    /// The messages that wait to be sent.
    pub(super) fn outbox(&mut self) -> &mut Outbox {
        &mut self.out
    }

    /// The socket, to wait for.
    pub(super) fn socket(&self) -> &Endpoint {
        &self.socket
    }

    /// Sends again what the called party has not had confirmed.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.callee.sweep(now, &mut self.out);
    }

    /// That nobody listens is an error at the start; later it is an outage, which shows in the tally.
    fn refusal<T: Default>(&self, window: &Window, result: io::Result<T>) -> Result<T, LoadError> {
        match result {
            Ok(value) => Ok(value),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if window.tally().ended() == 0 {
                    return Err(LoadError::Refused(self.script.transport, self.target));
                }
                Ok(T::default())
            }
            // A full send buffer: the retransmission will find room.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(T::default()),
            Err(error) => Err(LoadError::io("SIP socket")(error)),
        }
    }

    /// Answers calls in a thread of its own, so that one party doesn't wait for the other.
    fn answer_in_thread(self) -> Result<Answering, LoadError> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let Self {
            socket,
            mut callee,
            local,
            target,
            script,
            _rtp,
            ..
        } = self;
        let socket = socket.park();
        let thread = std::thread::Builder::new()
            .name("callee".to_owned())
            .spawn(move || {
                let mut socket = socket.wake();
                answer(&mut socket, &mut callee, &told)?;
                Ok((socket.park(), callee))
            })
            .map_err(LoadError::io("no thread for the callee"))?;
        let awaken = move |(socket, callee): (ParkedEndpoint, Callee)| Self {
            socket: socket.wake(),
            callee,
            local,
            target,
            script,
            out: Outbox::default(),
            _rtp,
        };
        Ok(Answering {
            stop,
            thread,
            awaken: Box::new(awaken),
        })
    }
}

fn answer(socket: &mut Endpoint, callee: &mut Callee, stop: &AtomicBool) -> io::Result<()> {
    let mut out = Outbox::default();
    let mut sweep = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        let received = socket.receive(|bytes, from| {
            if let Ok(message) = Message::parse(bytes) {
                callee.handle(now, from, &message, &mut out);
            }
        })?;
        if now >= sweep {
            callee.sweep(now, &mut out);
            sweep = now + SWEEP;
        }
        // What the system refused now is sent again by the sweep.
        let _ = socket.send(&mut out);
        if received == 0 {
            socket.wait(SWEEP)?;
        }
    }
    Ok(())
}

fn tell(
    phase: Phase,
    elapsed: Duration,
    window: &Window,
    observe: &mut Observer<'_>,
) -> ControlFlow<()> {
    observe(&Progress {
        phase,
        elapsed,
        tally: window.tally(),
        outstanding: window.outstanding(),
    })
}

struct Answering {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<(ParkedEndpoint, Callee)>>,
    awaken: Box<dyn FnOnce((ParkedEndpoint, Callee)) -> Party>,
}

impl Answering {
    /// Ends the thread and gives the party back.
    fn stop(self) -> Result<Party, LoadError> {
        self.stop.store(true, Ordering::Relaxed);
        let died = || Err(io::Error::other("its thread died"));
        let parts = self.thread.join().unwrap_or_else(|_| died());
        parts.map(self.awaken).map_err(LoadError::io("callee"))
    }
}

/// How fast operations start, and when that ends.
struct Pace {
    rate: Option<f64>,
    count: Option<u64>,
    duration: Duration,
    /// How long operations under way may take after that.
    drain: Duration,
}

impl Pace {
    /// How many operations may have been started by now.
    fn allowed(&self, elapsed: Duration) -> u64 {
        let paced = self
            .rate
            .map_or(u64::MAX, |rate| (elapsed.as_secs_f64() * rate) as u64 + 1);
        paced.min(self.count.unwrap_or(u64::MAX))
    }

    /// How long nothing has to be started.
    fn idle(&self, elapsed: Duration, starting: bool) -> Duration {
        match self.rate {
            Some(rate) if starting && rate > 0.0 => {
                let next = self.allowed(elapsed) as f64 / rate - elapsed.as_secs_f64();
                Duration::from_secs_f64(next.clamp(0.001, 1.0))
            }
            _ => SWEEP,
        }
    }
}

/// How often the window is searched for what is due.
const SWEEP: Duration = Duration::from_millis(10);

/// How often the observer hears of the run.
const REPORT: Duration = Duration::from_secs(1);

/// Registrations under way at a time before the calls begin.
const REGISTRATIONS: usize = 32;

/// Our address on the way to `target`.
fn ip_towards(target: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

/// Differs between runs, also of one process.
fn run_number() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos() as u64);
    (nanos.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 ^ std::process::id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_run_starts_as_many_as_are_due() {
        let pace = Pace {
            rate: Some(100.0),
            count: Some(150),
            duration: Duration::MAX,
            drain: Duration::ZERO,
        };
        assert_eq!(pace.allowed(Duration::ZERO), 1);
        assert_eq!(pace.allowed(Duration::from_millis(500)), 51);
        assert_eq!(pace.allowed(Duration::from_secs(5)), 150);
        assert_eq!(
            pace.idle(Duration::from_millis(5), true),
            Duration::from_millis(5)
        );
    }

    #[test]
    fn run_numbers_differ() {
        assert_ne!(run_number(), run_number());
    }
}
