//! RTP through calls: set-up, streams, hang-up.

mod form;
mod report;
mod stamp;
mod stream;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::endpoint::wait_any;
use super::run::{Observer, Party, Phase, Progress};
use super::window::Window;
use super::{LoadError, LoadOptions, Report};
pub use form::{Form, Hears, Keys, Says, Sound};
pub use report::MediaReport;
use stream::Streams;
pub use stream::allow_many_sockets;

/// Sets up `options.calls` calls, has their legs send to each other, and hangs up.
pub(super) fn run(
    options: &LoadOptions,
    target: SocketAddr,
    local: IpAddr,
    observe: &mut Observer<'_>,
) -> Result<Report, LoadError> {
    let began = Instant::now();
    allow_many_sockets();
    let mut calls = Calls::register(options, target, local)?;
    let media = calls.load(options, local, observe);
    // Nothing is left behind, whatever happened.
    let hung_up = calls.hang_up(options.timeout);
    if !options.proxy {
        calls.caller.unregister(options, &options.callers, u64::MAX);
        calls.callee.unregister(options, &options.callees, u64::MAX);
    }
    let media = media?;
    hung_up?;
    let tally = calls.window.tally();
    let seen = calls.callee.callee.seen;
    let mut report = Report::new(options.job, tally, began.elapsed(), Some(seen));
    report.media = media;
    Ok(report)
}

/// Sends and takes RTP on legs that were set up by other means for `duration`. The two legs of a call
/// follow each other in `legs`.
///
/// # Errors
/// If a socket fails.
pub fn stream(legs: Vec<Leg>, duration: Duration) -> Result<MediaReport, LoadError> {
    let mut streams = Streams::new(legs, duration).map_err(LoadError::io("RTP sockets"))?;
    while streams.step().map_err(LoadError::io("RTP"))?.is_continue() {}
    Ok(streams.report())
}

/// One end of a call.
#[derive(Debug)]
pub struct Leg {
    /// Our socket.
    pub socket: UdpSocket,
    /// Where the server takes its RTP.
    pub remote: SocketAddr,
    /// What it says and hears.
    pub form: Form,
}

/// Both parties and the calls between them.
struct Calls {
    caller: Party,
    callee: Party,
    window: Window,
}

impl Calls {
    fn register(
        options: &LoadOptions,
        target: SocketAddr,
        local: IpAddr,
    ) -> Result<Self, LoadError> {
        let mut callee = Party::callee(options, target, local)?;
        let mut caller = Party::caller(options, target, local)?;
        if !options.proxy {
            callee.register(options, &options.callees)?;
            caller.register(options, &options.callers)?;
        }
        caller.set_callee(options, callee.local);
        let window = caller.window(options, options.calls);
        Ok(Self {
            caller,
            callee,
            window,
        })
    }

    /// Sets up all calls, and has them carry RTP or wait for another generator's.
    fn load(
        &mut self,
        options: &LoadOptions,
        local: IpAddr,
        observe: &mut Observer<'_>,
    ) -> Result<Option<MediaReport>, LoadError> {
        let began = Instant::now();
        let mut legs = Vec::with_capacity(2 * options.calls);
        for number in 1..=options.calls {
            legs.extend(self.set_up(number, local, options)?);
        }
        let mut media = None;
        if self.report(Phase::Load, began, observe).is_continue() {
            match &options.legs {
                Some(path) => {
                    write_legs(path, &legs).map_err(LoadError::io("legs file"))?;
                    // The other generator takes their ports.
                    drop(legs);
                    self.hold(options.duration, observe)?;
                }
                None => media = Some(self.stream(legs, options.duration, observe)?),
            }
        }
        // Nothing is left to break off.
        let _ = self.report(Phase::End, began, observe);
        Ok(media)
    }

    /// One call after the other, so that the offer that comes to the callee is the caller's.
    fn set_up(
        &mut self,
        number: usize,
        local: IpAddr,
        options: &LoadOptions,
    ) -> Result<[Leg; 2], LoadError> {
        let ours = rtp_socket(local).map_err(LoadError::io("no RTP socket"))?;
        let theirs = rtp_socket(local).map_err(LoadError::io("no RTP socket"))?;
        let port = |socket: &UdpSocket| socket.local_addr().map(|address| address.port());
        let no_port = LoadError::io;
        self.window
            .set_rtp_port(port(&ours).map_err(no_port("no RTP socket"))?);
        self.callee.callee.rtp_port = port(&theirs).map_err(no_port("no RTP socket"))?;
        self.window.begin(Instant::now(), self.caller.outbox());
        let limit = Instant::now() + options.timeout;
        while self.window.talking() < number {
            let failed = self.window.tally().failures.keys().next();
            if let Some(&failure) = failed {
                return Err(LoadError::SetUp { number, failure });
            }
            if Instant::now() > limit {
                let failure = super::Failure::Timeout;
                return Err(LoadError::SetUp { number, failure });
            }
            self.signal(Duration::from_millis(1))?;
        }
        let offered = self.callee.callee.offered.take();
        let answered = self.window.take_answered();
        let (Some(offered), Some(answered)) = (offered, answered) else {
            let failure = super::Failure::Malformed;
            return Err(LoadError::SetUp { number, failure });
        };
        Ok([
            Leg {
                socket: ours,
                remote: answered,
                form: Form::default(),
            },
            Leg {
                socket: theirs,
                remote: offered,
                form: Form::default(),
            },
        ])
    }

    /// Takes and sends what is there of signalling; waits at most `limit` if there is nothing.
    fn signal(&mut self, limit: Duration) -> Result<(), LoadError> {
        let now = Instant::now();
        self.window.sweep(now, self.caller.outbox());
        self.callee.sweep(now);
        self.caller.flush(&self.window)?;
        self.callee.flush(&self.window)?;
        let came = self.caller.take(&mut self.window)? + self.callee.take(&mut self.window)?;
        if came == 0 && !limit.is_zero() {
            let sockets = [self.caller.socket(), self.callee.socket()];
            wait_any(sockets, limit).map_err(LoadError::io("wait"))?;
        }
        Ok(())
    }

    fn hold(&mut self, duration: Duration, observe: &mut Observer<'_>) -> Result<(), LoadError> {
        let began = Instant::now();
        let mut told = began;
        while began.elapsed() < duration {
            self.signal(Duration::from_millis(20))?;
            if told.elapsed() >= SECOND {
                told += SECOND;
                if self.report(Phase::Load, began, observe).is_break() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn stream(
        &mut self,
        legs: Vec<Leg>,
        duration: Duration,
        observe: &mut Observer<'_>,
    ) -> Result<MediaReport, LoadError> {
        let mut streams = Streams::new(legs, duration).map_err(LoadError::io("RTP sockets"))?;
        let began = Instant::now();
        let mut told = began;
        let mut signalled = began;
        while streams.step().map_err(LoadError::io("RTP"))?.is_continue() {
            if signalled.elapsed() >= Duration::from_millis(10) {
                signalled = Instant::now();
                self.signal(Duration::ZERO)?;
            }
            if told.elapsed() >= SECOND {
                told += SECOND;
                if self.report(Phase::Load, began, observe).is_break() {
                    streams.stop();
                }
            }
        }
        Ok(streams.report())
    }

    fn report(&self, phase: Phase, began: Instant, observe: &mut Observer<'_>) -> ControlFlow<()> {
        observe(&Progress {
            phase,
            elapsed: began.elapsed(),
            tally: self.window.tally(),
            outstanding: self.window.outstanding(),
        })
    }

    fn hang_up(&mut self, timeout: Duration) -> Result<(), LoadError> {
        let limit = Instant::now() + timeout;
        self.window.hang_up(Instant::now(), self.caller.outbox());
        while self.window.outstanding() > 0 && Instant::now() < limit {
            self.signal(Duration::from_millis(10))?;
        }
        Ok(())
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A socket on an even port (RFC 3550 §11), if a few tries find one.
///
/// # Errors
/// If there is no free port, or no socket may be opened any more: see [`allow_many_sockets`].
pub fn rtp_socket(local: IpAddr) -> std::io::Result<UdpSocket> {
    let mut socket = UdpSocket::bind((local, 0))?;
    for _ in 0..8 {
        if socket.local_addr()?.port() % 2 == 0 {
            break;
        }
        socket = UdpSocket::bind((local, 0))?;
    }
    Ok(socket)
}

/// One leg a line: our address, the server's, payload type, codec, no keys. The two legs of a call
/// follow each other.
fn write_legs(path: &std::path::Path, legs: &[Leg]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for leg in legs {
        let local = leg.socket.local_addr()?;
        writeln!(file, "{local} {} 8 pcma - -", leg.remote)?;
    }
    file.flush()
}
