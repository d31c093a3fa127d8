//! Session descriptions (SDP, RFC 8866) for a server that anchors media.
//!
//! A description is kept as its lines, in order, whatever they say; what a call needs is read from
//! them on demand. So codecs, keys and attributes that we have never heard of pass through a call
//! unchanged.
//!
//! ```
//! use sdp::{Anchor, Origin, Rewrite, Sdp};
//!
//! let offer = Sdp::parse(
//!     "v=0\r\no=alice 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
//!      m=audio 7078 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n",
//! )?;
//! let audio = offer.media_at(0).expect("one media line");
//! assert_eq!(audio.transport().expect("an address").rtp.to_string(), "10.0.0.9:7078");
//!
//! let mut anchored = String::new();
//! sdp::rewrite(
//!     &offer,
//!     &Rewrite {
//!         origin: Origin { session_id: 42, version: 1, address: [192, 0, 2, 1].into() },
//!         media: &[Anchor::At(([192, 0, 2, 1], 20_000).into())],
//!     },
//!     &mut anchored,
//! );
//! assert!(anchored.contains("m=audio 20000 RTP/AVP 8 101\r\n"));
//! # Ok::<(), sdp::Error>(())
//! ```
//!
//! - [`session`]: a parsed description and its lines.
//! - [`media`]: one media section: addresses, direction, RTCP, packet time.
//! - [`payload`]: payload types, the codecs that calls ending at us can use.
//! - `codecs`: the same description with fewer codecs. - [`mod@rewrite`]: the same description with our addresses.
//! - [`local`]: offers and answers of calls that end at us.
//! - [`bridge`]: offers and answers between two parties that differ in encryption, codecs, ICE.
//!
//! It does not send a packet: checks, handshakes and conversion are the media workers' work.

pub mod bridge;
mod codecs;
pub mod local;
pub mod media;
pub mod payload;
pub mod rewrite;
pub mod session;

pub use local::{Agreed, Local, agree, answer, offer};
pub use media::{Direction, Media, Transport};
pub use payload::{Codec, RtpMap};
pub use rewrite::{Anchor, Origin, Rewrite, rewrite, unheld};
pub use session::{Connection, Error, Line, Sdp};
