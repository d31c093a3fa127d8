//! Session descriptions (SDP, RFC 8866) for a server that anchors media.
//!
//! A description is kept as its lines, in order, whatever they say; what a call needs is read from
//! them on demand. So codecs, keys and attributes that we have never heard of pass through a call
//! unchanged.
//!
//! ```
//! use sdp::bridge::{Endpoint, Ours, Policy, Said, Terms};
//! use sdp::{Anchor, Origin, Sdp};
//!
//! let offer = Sdp::parse(
//!     "v=0\r\no=alice 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
//!      m=audio 7078 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n",
//! )?;
//! let audio = offer.media_at(0).expect("one media line");
//! assert_eq!(audio.transport().expect("an address").rtp.to_string(), "10.0.0.9:7078");
//!
//! // What Bob is offered when Alice has made this offer.
//! let (mut alice, mut bob) = (Endpoint::default(), Endpoint::default());
//! let policy = Policy::default();
//! let terms = Terms { policy: &policy, fingerprint: None, ice: None };
//! let mut random = NoKeys;
//! alice.hear_offer(&offer, &terms, &mut random)?;
//! let said = Said { sdp: &offer, by: &alice, policy: &policy };
//! let ours = Ours {
//!     origin: Origin { session_id: 42, version: 1, address: [192, 0, 2, 1].into() },
//!     media: &[Anchor::At(([192, 0, 2, 1], 20_000).into())],
//!     candidates: &[],
//! };
//! let mut text = String::new();
//! bob.offer(&said, "", &ours, &terms, &mut random, &mut text)?;
//! assert!(text.contains("m=audio 20000 RTP/AVP 8 101\r\n"));
//! # struct NoKeys;
//! # impl sdp::bridge::Random for NoKeys { fn fill(&mut self, _: &mut [u8]) {} }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`session`]: a parsed description and its lines.
//! - [`media`]: one media section: addresses, direction, RTCP, packet time.
//! - [`payload`]: payload types, the codecs that calls ending at us can use.
//! - [`anchor`]: whose a description is, and where its streams go.
//! - [`levels`]: how loud parties are, in header extensions.
//! - [`local`]: offers and answers of calls that end at us.
//! - [`trickle`]: candidates that come after their description.
//! - [`bridge`]: offers and answers between two parties that differ in encryption, codecs, ICE.
//!
//! It does not send a packet: checks, handshakes and conversion are the media workers' work.

pub mod anchor;
pub mod bridge;
pub mod levels;
pub mod local;
pub mod media;
pub mod payload;
mod pictures;
pub mod session;
pub mod trickle;

pub use anchor::{Anchor, Origin, unheld};
pub use levels::Levels;
pub use local::{Agreed, Local, agree, answer, offer};
pub use media::{Direction, Media, Transport};
pub use payload::{Codec, RtpMap};
pub use pictures::{PictureCodec, Pictures};
pub use session::{Connection, Error, Line, Sdp};
pub use trickle::Trickled;
