//! SRTP and SRTCP: packets that only the two parties can read or write.
//!
//! ```
//! use srtp::{MAX_OVERHEAD, MasterKey, Profile, Receiver, Sender};
//!
//! let profile = Profile::AeadAes128Gcm;
//! let key = MasterKey::new(&[7; 16], &[9; 12])?;
//! let mut sender = Sender::new(profile, &key)?;
//! let mut receiver = Receiver::new(profile, &key)?;
//!
//! // A packet with 160 bytes of sound, and room for what is added to it.
//! let mut packet = [0; 172 + MAX_OVERHEAD];
//! packet[0] = 2 << 6;
//! let len = sender.protect_rtp(&mut packet, 172)?;
//! assert_eq!(receiver.unprotect_rtp(&mut packet[..len])?, 172);
//! # Ok::<(), srtp::Error>(())
//! ```
//!
//! - [`Profile`]: which cipher, which lengths; its names in SDP and its numbers in DTLS.
//! - [`MasterKey`]: what the parties agreed on; `derive`: the session keys made from it.
//! - [`Sender`], [`Receiver`]: one direction of a stream, with all its sources.
//! - [`sdes`]: keys in SDP (`a=crypto`). [`dtls`]: keys from a DTLS handshake.
//! - `transform`: the ciphers on one packet; `hmac`, `layout`: what they need.
//! - `window`, `sources`: rollover counter and replay window of each source.
//!
//! A packet costs no allocation; the first one of a new source may. Keys are wiped when they are
//! dropped, and tags are compared in constant time.
//!
//! Not here: the handshake of DTLS, MIKEY, header extension encryption (RFC 6904), and the MKI,
//! which [`sdes`] refuses.

mod derive;
pub mod dtls;
mod error;
mod hmac;
mod key;
mod layout;
mod profile;
mod receiver;
pub mod sdes;
mod sender;
mod sources;
mod transform;
mod window;

pub use error::Error;
pub use key::MasterKey;
pub use profile::{MAX_OVERHEAD, Profile};
pub use receiver::Receiver;
pub use sender::Sender;
pub use sources::MAX_SOURCES;
