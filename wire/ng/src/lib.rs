//! The control protocol of media relays (rtpengine's *ng*): how a SIP proxy asks for ports, rewritten
//! descriptions and the like.
//!
//! A message is a cookie, a blank and a dictionary in bencode or JSON; the reply repeats the cookie and
//! keeps the form.
//!
//! ```
//! use ng::{Command, Frame, Reply, Request};
//!
//! let frame = Frame::parse(b"5323_1 d7:command4:pinge")?;
//! let request = Request::read(&frame.dictionary()?)?;
//! assert_eq!(request.command, Command::Ping);
//! assert_eq!(frame.reply(&Reply::pong()), b"5323_1 d6:result4:ponge");
//! # Ok::<(), ng::Error>(())
//! ```
//!
//! - [`value`]: what dictionaries are made of. - [`bencode`], [`json`]: how they are written.
//! - [`frame`]: cookies, and where a message on a stream ends.
//! - [`request`]: what is asked; [`options`]: how descriptions are to be changed, `attributes`: and their
//!   attributes; `flags`: the ways in which that is said. - [`reply`]: what is answered.
//!
//! It holds no calls and changes no descriptions: that is the relay role's work.

mod attributes;
pub mod bencode;
mod codec;
mod flags;
pub mod frame;
pub mod json;
pub mod options;
pub mod reply;
pub mod request;
pub mod value;

pub use attributes::{AttributeEdits, Edits};
pub use codec::CodecSpec;
pub use frame::{Form, Frame};
pub use options::{Codecs, Dtls, Family, Ice, IceLite, Options, Replace, RtcpMux, Sdes, Transport};
pub use reply::Reply;
pub use request::{Command, Request};
pub use value::{Dictionary, Value};

/// Why a message is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no cookie, or it is longer than [`Frame::LONGEST_COOKIE`].
    #[error("Received invalid data (no cookie)")]
    Cookie,
    /// The body is neither bencode nor JSON, or ends too early.
    #[error("Could not decode dictionary")]
    Body,
    /// Lists in lists beyond [`bencode::DEEPEST`].
    #[error("Dictionary is nested too deeply")]
    Depth,
    /// The body is no dictionary.
    #[error("Message is not a dictionary")]
    NoDictionary,
    /// It does not say what is wanted.
    #[error("Dictionary contains no key \"command\"")]
    NoCommand,
    /// It wants what we have never heard of.
    #[error("Unrecognized command")]
    Command,
}
