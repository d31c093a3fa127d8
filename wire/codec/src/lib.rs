//! Speech codecs, tones and resampling. Pulse-code modulated sound (`pcm`) is mono, 16 bits.
//!
//! ```
//! use codec::{g711, tone::{self, Tone}};
//!
//! // 20 ms of the milliwatt tone as G.711 µ-law.
//! let mut pcm = [0; 160];
//! Tone::new(1004.0, 8000).fill(&mut pcm);
//! let packet = pcm.map(g711::encode_mu);
//!
//! let heard = packet.map(g711::decode_mu);
//! assert!(tone::level(&heard, 1004.0, 8000) > -4.0);
//! ```
//!
//! - [`g711`]: µ-law and A-law, a sample at a time.
//! - [`g722`]: G.722 at 64 kbit/s.
//! - [`opus`]: Opus; [`ogg_opus`]: Opus in its file format.
//! - [`tone`]: making a tone and finding one.
//! - [`resample`]: changing the sampling rate.
//!
//! Jitter buffers, packet loss concealment and mixing are not here yet.

mod error;
pub mod g711;
pub mod g722;
pub mod ogg_opus;
pub mod opus;
pub mod resample;
pub mod tone;

pub use error::Error;
