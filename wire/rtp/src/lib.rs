//! RTP and RTCP on the wire: views over received bytes, encoding, sequence tracking.
//!
//! ```
//! use rtp::{Header, Kind, Packet, Sequence};
//!
//! let mut datagram = [0; 172];
//! Header { payload_type: 0, marker: true, sequence: 7, timestamp: 160, ssrc: 0xfeed }
//!     .encode(&mut datagram);
//!
//! // What a receiver does with each datagram:
//! let mut sequence = None;
//! if Kind::of(&datagram) == Kind::Rtp {
//!     let packet = Packet::parse(&datagram).unwrap();
//!     sequence
//!         .get_or_insert_with(|| Sequence::new(packet.sequence()))
//!         .update(packet.sequence());
//!     assert_eq!(packet.payload().len(), 160);
//! }
//! ```
//!
//! - [`packet`]: the RTP header, read in place and written in place.
//! - [`rtcp`]: compound RTCP: sender and receiver reports, SDES CNAME, BYE.
//! - [`demux`]: which protocol a datagram on a shared port belongs to.
//! - [`telephone_event`]: keys pressed (RFC 4733), sent and heard.
//! - [`sequence`]: extended sequence numbers, loss and jitter of one source.
//!
//! It neither encrypts nor reorders: SRTP and the jitter buffer are separate concerns.

pub mod demux;
mod error;
pub mod packet;
pub mod rtcp;
pub mod sequence;
pub mod telephone_event;

pub use demux::Kind;
pub use error::Error;
pub use packet::{Extension, HEADER_LEN, Header, Packet};
pub use sequence::{Arrival, Jitter, Sequence};
pub use telephone_event::TelephoneEvent;
