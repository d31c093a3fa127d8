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
//! - [`contributing`]: who is heard in a mixer's packet, and how loud (RFC 6464, RFC 6465).
//! - [`rtcp`]: compound RTCP: sender and receiver reports, SDES CNAME, BYE.
//! - [`feedback`]: keyframes that are wanted and packets that are missing (RFC 4585, RFC 5104).
//! - [`xr`]: extended reports (RFC 3611).
//! - [`demux`]: which protocol a datagram on a shared port belongs to.
//! - [`telephone_event`]: keys pressed (RFC 4733), sent and heard.
//! - [`emodel`]: how good it sounds (ITU-T G.107).
//! - [`sequence`]: extended sequence numbers, loss and jitter of one source.
//! - [`jitter_buffer`]: packets put back into their order and pace, with an adaptive delay.
//!
//! It does not encrypt: SRTP is a room of its own.

pub mod contributing;
pub mod demux;
pub mod emodel;
mod error;
pub mod feedback;
pub mod jitter_buffer;
pub mod packet;
pub mod rtcp;
pub mod sequence;
pub mod telephone_event;
pub mod xr;

pub use contributing::{AudioLevel, Contributor, Contributors, LevelNumbers, Spoken};
pub use demux::Kind;
pub use error::Error;
pub use jitter_buffer::JitterBuffer;
pub use packet::{Extension, HEADER_LEN, Header, Packet};
pub use sequence::{Arrival, Jitter, Sequence};
pub use telephone_event::TelephoneEvent;
