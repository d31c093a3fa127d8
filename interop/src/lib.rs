//! Tests against real phones and tools.
//!
//! A test runs in a [`Lab`]: a folder for everything that it writes, and ports that no other test
//! has. In the lab it starts the binary that users get, and peers that strangers wrote.
//!
//! ```no_run
//! use interop::{Lab, peer};
//!
//! # fn main() -> anyhow::Result<()> {
//! Lab::run("hello", &[peer::SIPP], |lab| {
//!     let server = lab.server()?;
//!     lab.sipp("options.xml")?.to(server.sip()).run()
//! })
//! # }
//! ```
//!
//! - [`lab`]: folder, capture and clean-up of one test.
//! - [`ports`]: free ports.
//! - [`peer`]: programs that must be there, and how they get there.
//! - [`server`]: our own binary.
//! - [`baresip`], [`linphone`], [`pjsua`], [`jssip`], [`sipp`]: drivers of phones.
//! - [`chromium`]: a browser, sound and pictures included.
//! - [`driven`]: what drivers in other languages have in common.
//! - [`libsrtp`]: packets that others protect.
//! - [`attack`]: floods and odd packets.
//! - [`slow`]: clients that take their time.
//! - [`bad_network`]: loss and jitter.
//! - [`debian`]: a small Debian system, and packages for it. - [`booted`]: the same, with systemd.
//! - [`dns`]: a name server for names that a test makes up.
//! - [`podman`]: the image. - [`compose`]: the compose files.
//! - [`nginx`]: a reverse proxy.
//! - [`traefik`]: what the compose files say to another.
//! - [`network`]: a network where every port is free.
//! - [`pulse`]: a sound server.
//! - [`kamailio`]: a provider. - [`relay`]: media relays, and a proxy that has one.
//! - [`mod@tls`]: certificates of an authority that phones are told to trust.
//! - [`capture`]: what went over the wire, judged by tshark.
//! - [`rtp`]: the voice in a capture.
//! - [`sound`]: tones to play, and what is in a recording.
//! - [`wait`]: waiting for something that can be looked at.
//!
//! When all goes well the folder is removed; when not, the test names it. `DIALTONE_BIN` names the
//! binary to test; without it cargo builds one. `DIALTONE_INTEROP=skip` leaves out tests whose peer
//! is missing instead of failing them.

pub mod attack;
pub mod bad_network;
pub mod baresip;
pub mod booted;
pub mod capture;
pub mod chromium;
pub mod compose;
pub mod debian;
pub mod dns;
pub mod driven;
pub mod jssip;
pub mod kamailio;
pub mod lab;
pub mod libsrtp;
pub mod linphone;
pub mod network;
pub mod nginx;
pub mod peer;
pub mod pjsua;
pub mod podman;
pub mod ports;
pub mod process;
pub mod pulse;
pub mod relay;
pub mod rtp;
pub mod server;
pub mod sipp;
pub mod slow;
pub mod sound;
pub mod tls;
pub mod traefik;
pub mod wait;

pub use bad_network::BadNetwork;
pub use baresip::Baresip;
pub use chromium::Chromium;
pub use dns::Dns;
pub use jssip::JsSip;
pub use kamailio::Kamailio;
pub use lab::{Lab, Site};
pub use linphone::Linphone;
pub use network::Network;
pub use pjsua::Pjsua;
pub use server::Server;
