//! One run of the protocol with somebody who knows DTLS 1.3.

use std::sync::Arc;
use std::time::Instant;

use dimpl::{Dtls, SrtpProfile};
use srtp::Profile;
use srtp::dtls::{Keys, Role};

use super::handshake::{FIRST_RETRANSMISSION, PATIENCE, Step, contain};
use super::{Error, Fingerprint, Identity};

/// A handshake in which we are the server, and the association that it leads to: DTLS 1.3, or 1.2
/// with ECDSA.
pub(super) struct Modern {
    dtls: Box<Dtls>,
    buffer: Vec<u8>,
    deadline: Option<Instant>,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The peer has not shown its certificate.
    Begun,
    /// The certificate is the one that was signalled.
    Known,
    /// The handshake is complete; keys follow at once or never.
    Connected,
    Keyed,
}

impl Modern {
    pub(super) fn new(identity: &Identity, now: Instant) -> Result<Self, Error> {
        let (config, certificate) = (identity.config(), identity.certificate());
        let mut dtls = contain(|| {
            let mut dtls = Dtls::new_auto(config, certificate, now);
            dtls.set_active(false);
            dtls
        })?;
        contain(|| dtls.handle_timeout(now))?.map_err(failure)?;
        Ok(Self {
            dtls: Box::new(dtls),
            buffer: vec![0; 2048],
            deadline: Some(now),
            progress: Progress::Begun,
        })
    }

    /// Takes a datagram. What is merely out of place is ignored.
    pub(super) fn handle(&mut self, datagram: &[u8], now: Instant) -> Result<(), Error> {
        self.handle_timeout(now)?;
        match contain(|| self.dtls.handle_packet(datagram))? {
            Err(error) if is_fatal(&error) => Err(failure(error)),
            _ => Ok(()),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        contain(|| self.dtls.handle_timeout(now))?.map_err(failure)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The next thing that is to be done; `None` until more comes in.
    pub(super) fn poll(&mut self, expected: &Fingerprint) -> Result<Option<Step>, Error> {
        loop {
            let Self { dtls, buffer, .. } = self;
            match contain(|| dtls.poll_output(buffer))? {
                dimpl::Output::Packet(packet) => return Ok(Some(Step::Packet(packet.to_vec()))),
                dimpl::Output::BufferTooSmall { needed } if needed <= MAX_OUTPUT => {
                    self.buffer.resize(needed, 0);
                }
                dimpl::Output::BufferTooSmall { .. } => {
                    return Err(Error::Handshake("the certificate is too large".to_owned()));
                }
                dimpl::Output::Timeout(at) => {
                    self.deadline = Some(at);
                    return match self.progress {
                        Progress::Connected => Err(Error::NoProfile),
                        _ => Ok(None),
                    };
                }
                dimpl::Output::PeerCert(certificate) => {
                    if !expected.matches(certificate) {
                        return Err(Error::Fingerprint);
                    }
                    self.progress = Progress::Known;
                }
                dimpl::Output::Connected => self.connected()?,
                dimpl::Output::KeyingMaterial(material, profile) => {
                    return self.keys(&material, profile).map(Some);
                }
                dimpl::Output::CloseNotify => return Ok(Some(Step::Closed)),
                // Nobody speaks anything but SRTP with us.
                _ => {}
            }
        }
    }

    /// Nobody gets here without a certificate.
    fn connected(&mut self) -> Result<(), Error> {
        match self.progress {
            Progress::Begun => Err(Error::Fingerprint),
            Progress::Known => {
                self.progress = Progress::Connected;
                Ok(())
            }
            Progress::Connected | Progress::Keyed => Ok(()),
        }
    }

    fn keys(&mut self, material: &[u8], profile: SrtpProfile) -> Result<Step, Error> {
        if self.progress != Progress::Connected {
            return Err(Error::Fingerprint);
        }
        let profile = named(profile).ok_or(Error::NoProfile)?;
        let keys = Keys::parse(profile, Role::Server, material);
        self.progress = Progress::Keyed;
        keys.map(Step::Keys).map_err(|_| Error::NoProfile)
    }
}

/// How all our handshakes are run.
pub(super) fn config() -> Result<Arc<dimpl::Config>, Error> {
    let config = dimpl::Config::builder()
        // Whoever gets here was signalled, so there is no need for a cookie and its round trip.
        .use_server_cookie(false)
        .require_client_certificate(true)
        .flight_start_rto(FIRST_RETRANSMISSION)
        .flight_retries(RETRANSMISSIONS)
        .handshake_timeout(PATIENCE)
        .build();
    config
        .map(Arc::new)
        .map_err(|error| Error::Identity(error.to_string()))
}

const RETRANSMISSIONS: usize = 7;

/// The largest certificate that a peer may show.
const MAX_OUTPUT: usize = 1 << 16;

fn named(profile: SrtpProfile) -> Option<Profile> {
    match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::Aes128CmSha1_80),
        SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AeadAes128Gcm),
        SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AeadAes256Gcm),
        _ => None,
    }
}

/// Whether the parties will never agree, as opposed to a datagram that somebody may have made up.
fn is_fatal(error: &dimpl::Error) -> bool {
    use dimpl::Error as E;
    matches!(
        error,
        E::SecurityError(_)
            | E::CryptoError(_)
            | E::CertificateError(_)
            | E::ConfigError(_)
            | E::Timeout(_)
            | E::TransmitQueueFull
            | E::TransmitHistoryFull
    )
}

fn failure(error: dimpl::Error) -> Error {
    match error {
        dimpl::Error::Timeout(_) => Error::Timeout,
        error => Error::Handshake(error.to_string()),
    }
}
