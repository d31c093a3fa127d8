//! The offer and answer of a box in the middle: two sides, each negotiated on its own.
//!
//! An [`Endpoint`] is one side of us, towards one party. Encryption, ICE, RTCP multiplexing and
//! bundling are settled between us and that party; codecs, directions and everything that we have
//! never heard of come from the other side's description. So any party can talk to any other.
//!
//! ```text
//!  party A ── offer ──▶ a.hear_offer      b.offer ──▶ offer ── party B
//!  party A ◀─ answer ── a.answer      b.hear_answer ◀─ answer ── party B
//! ```
//!
//! When several phones ring, each has an endpoint of its own, and the caller has one. After the
//! answer [`Endpoint::plan`] tells for each stream of a side what the media worker needs.
//!
//! - [`policy`]: what a side wants. - `endpoint`: what a side has said. - `negotiate`: what the other
//!   side is told. - `formats`: payload types. - `write`: the text. - `serve`: calls that end at us.
//! - [`keys`], [`dtls`], [`ice`], [`profile`]: parts of descriptions. - [`plan`]: the outcome.
//!
//! # Source
//! RFC 3264, RFC 4568, RFC 5763, RFC 8839, RFC 9143

pub mod dtls;
mod endpoint;
mod formats;
pub mod ice;
pub mod keys;
mod negotiate;
pub mod plan;
pub mod policy;
pub mod profile;
mod serve;
mod write;

pub use dtls::{Digest, Fingerprint, Setup};
pub use endpoint::{Endpoint, Ours, Refusal};
pub use formats::{Payload, suits};
pub use ice::Ice;
pub use keys::{Crypto, Key, Random, Suite};
pub use negotiate::Said;
pub use plan::{Plan, Sdes, Security};
pub use policy::{Add, Encryption, Events, Keying, Policy, Terms, Transcodable, Use};
pub use profile::Profile;
