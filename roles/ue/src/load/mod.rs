//! The load generator.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use ue::load::{Job, LoadOptions, run};
//!
//! let options = LoadOptions {
//!     count: Some(10_000),
//!     ..LoadOptions::new(Job::Register, "127.0.0.1:5060")
//! };
//! let report = run(&options, &mut |_progress| ControlFlow::Continue(()))?;
//! assert_eq!(report.failed, 0);
//! # Ok::<(), ue::load::LoadError>(())
//! ```
//!
//! Sans IO: `window` (what is outstanding and what follows from an answer), `request` (the text of
//! requests), `callee` (the party that is called), `tally` and `histogram` (counting). With IO: `run`
//! (signalling loop), `endpoint` (`socket`: datagrams in batches; `streams`: connections, with `tls`), `media`
//! (RTP streams).
//!
//! It plays well-behaved phones only: no malformed messages, no answers other than 180 and 200 to a
//! call. The transports are its own: it shares no code with the server's.

mod account;
mod callee;
mod endpoint;
mod error;
mod histogram;
mod media;
mod options;
mod outbox;
mod report;
mod request;
mod run;
mod socket;
mod streams;
mod tally;
mod tls;
mod transport;
mod window;

#[cfg(test)]
mod streams_tests;
#[cfg(test)]
mod tests;

pub use account::Accounts;
pub use callee::Seen;
pub use error::LoadError;
pub use histogram::{Histogram, Percentiles};
pub use media::{
    Form, Hears, Keys, Leg, MediaReport, Says, Sound, allow_many_sockets, rtp_socket, stream,
};
pub use options::{Job, LoadOptions, UnknownJob};
pub use report::Report;
pub use run::{Observer, Phase, Progress, run};
pub use tally::{Failure, Tally};
pub use transport::{Transport, Trust, UnknownTransport};
