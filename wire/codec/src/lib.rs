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
//! Any codec, chosen by what SDP says:
//!
//! ```
//! use codec::{Codec, Decoder, Encoder, Parameters};
//!
//! let opus = Codec::from_rtpmap("opus", 48_000, 2).unwrap();
//! let parameters = Parameters::from_fmtp(opus, "useinbandfec=1; maxplaybackrate=16000");
//! let mut encoder = Encoder::new(opus, &parameters)?;
//! let mut payload = [0; 1275];
//! let len = encoder.encode(&[0; 960], &mut payload)?;
//!
//! let mut decoder = Decoder::new(opus, &Parameters::default())?;
//! let mut pcm = [0; 5760];
//! assert_eq!(decoder.decode(&payload[..len], &mut pcm)?, 960);
//! # Ok::<(), codec::Error>(())
//! ```
//!
//! - [`Codec`]: which codec; [`Parameters`]: what SDP says beyond its name.
//! - [`Encoder`], [`Decoder`]: every codec behind one face. No panic of a codec gets through.
//! - [`g711`]: µ-law and A-law, a sample at a time.
//! - [`g722`]: G.722 at 64 kbit/s; [`ilbc`]: iLBC.
//! - [`gsm`], [`g7231`], `g729`, [`amr`]: the codecs of others behind our interface.
//! - [`l16`]: samples as they are.
//! - [`opus`]: Opus; [`ogg_opus`]: Opus in its file format.
//! - [`tone`]: making a tone and finding one.
//! - [`dtmf`]: keys pressed, as tones; [`indication`]: dial tone, ringback, busy of many countries.
//! - [`conceal`]: lost sound made up; [`comfort_noise`]: silence described instead of sent.
//! - [`resample`]: changing the sampling rate; [`stretch`]: changing the pace, not the pitch.
//! - [`mix`]: many voices in one.
//!
//! Jitter buffers are in `rtp`.

pub mod amr;
pub mod comfort_noise;
pub mod conceal;
mod contain;
mod decoder;

pub mod dtmf;
mod encoder;
mod error;
pub mod g711;
pub mod g722;
pub mod g7231;
#[cfg(feature = "g729")]
pub mod g729;
pub mod gsm;
pub mod ilbc;
pub mod indication;
mod kind;
pub mod l16;
mod likeness;
pub mod mix;
pub mod ogg_opus;
pub mod opus;
mod parameters;
pub mod resample;
pub mod stretch;
pub mod tone;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::Error;
pub use kind::Codec;
pub use parameters::Parameters;
