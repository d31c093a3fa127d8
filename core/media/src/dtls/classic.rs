//! One run of the protocol with somebody who knows no more than DTLS 1.2.

use std::collections::{BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::{Certificate, CryptoPrivateKey};
use rtc_dtls::crypto_provider::{SignatureScheme, default_provider};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::signature_hash_algorithm::SignatureScheme as Scheme;
use rtc_shared::TransportProtocol;
use srtp::Profile;
use srtp::dtls::{EXPORTER_LABEL, Keys, Role};

use super::handshake::{FIRST_RETRANSMISSION, PATIENCE, Step, contain};
use super::hello::Survey;
use super::{Error, Fingerprint, Identity};

/// A handshake of DTLS 1.2 with a peer whose certificate has an ECDSA or an RSA key, and the
/// association that it leads to.
///
/// The crate behind it keeps what is received without a bound of its own, and puts messages together
/// by recursion. So only well-formed datagrams get there, and no more of them than a handshake over
/// a bad network needs: what comes beyond that is dropped, and the handshake times out.
pub(super) struct Classic {
    dtls: Endpoint,
    role: Role,
    begun: Instant,
    /// How long the next retransmission waits.
    pause: Duration,
    /// When something is to be sent again.
    due: Option<Instant>,
    /// When the crate would have sent it.
    armed: Option<Instant>,
    /// Datagrams that may still come: as they are, and encrypted.
    budget: [usize; 2],
    /// Parts of messages that have come: as many as the budget lets in.
    heard: BTreeSet<(u16, usize)>,
    complete: bool,
    steps: VecDeque<Milestone>,
}

enum Milestone {
    Packet(Vec<u8>),
    Complete,
    Closed,
}

impl Classic {
    pub(super) fn connect(identity: &Identity, now: Instant) -> Result<Self, Error> {
        let mut classic = Self::new(Role::Client, None, now);
        let config = Arc::clone(&identity.classic().client);
        let begun = contain(|| classic.dtls.connect(now, PEER, config, None))?;
        begun.map_err(|error| failure(&error))?;
        classic.settle(now, true);
        Ok(classic)
    }

    pub(super) fn accept(identity: &Identity, now: Instant) -> Self {
        Self::new(Role::Server, Some(&identity.classic().server), now)
    }

    fn new(role: Role, server: Option<&Arc<HandshakeConfig>>, now: Instant) -> Self {
        Self {
            dtls: Endpoint::new(PEER, TransportProtocol::UDP, server.cloned()),
            role,
            begun: now,
            pause: FIRST_RETRANSMISSION,
            due: None,
            armed: None,
            budget: BUDGET,
            heard: BTreeSet::new(),
            complete: false,
            steps: VecDeque::new(),
        }
    }

    pub(super) fn handle(&mut self, datagram: &[u8], now: Instant) -> Result<(), Error> {
        let survey = Survey::of(datagram).filter(|_| datagram.len() <= MAX_DATAGRAM);
        if !survey.is_some_and(|survey| self.admits(&survey)) {
            return Ok(());
        }
        let dtls = &mut self.dtls;
        let read = contain(|| dtls.read(now, PEER, None, BytesMut::from(datagram)))?;
        self.settle(now, true);
        // Nobody speaks anything but SRTP with us.
        for event in read.map_err(|error| failure(&error))? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.complete = true;
                    self.steps.push_back(Milestone::Complete);
                }
                EndpointEvent::PeerClosed => self.steps.push_back(Milestone::Closed),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a datagram is worth its work. Those that only repeat what has come would make the crate
    /// forget to send again what was lost; but after the handshake, and to a server that has heard no
    /// more than the first ClientHello, they are questions.
    ///
    /// # Source
    /// RFC 6347 §4.2.4
    fn admits(&mut self, survey: &Survey) -> bool {
        let budget = &mut self.budget[usize::from(survey.encrypted)];
        let first = self.role == Role::Server && self.heard.iter().all(|(number, _)| *number == 0);
        let mut asks = survey.other || survey.encrypted || self.complete || first;
        if *budget == 0 {
            return false;
        }
        for part in &survey.parts {
            asks |= self.heard.insert(*part);
        }
        *budget -= usize::from(asks);
        asks
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.complete {
            return Ok(());
        }
        if now >= self.begun + PATIENCE {
            return Err(Error::Timeout);
        }
        if self.due.is_none_or(|due| now < due) {
            return Ok(());
        }
        // The crate has one interval for all retransmissions: its clock is moved to where they are.
        let theirs = self.armed.unwrap_or(now).max(now);
        let dtls = &mut self.dtls;
        contain(|| dtls.handle_timeout(PEER, theirs))?.map_err(|_| Error::Timeout)?;
        self.pause *= 2;
        // Whoever rings does not listen yet, and is to be heard soon when it does.
        if self.is_unheard() {
            self.pause = self.pause.min(LONGEST_PAUSE);
        }
        self.settle(now, false);
        Ok(())
    }

    /// Whether the peer has said nothing at all.
    pub(super) fn is_unheard(&self) -> bool {
        self.heard.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let end = self.begun + PATIENCE;
        (!self.complete).then(|| self.due.map_or(end, |due| due.min(end)))
    }

    /// The next thing that is to be done; `None` until more comes in.
    pub(super) fn poll(&mut self, expected: &Fingerprint) -> Result<Option<Step>, Error> {
        match self.steps.pop_front() {
            Some(Milestone::Packet(packet)) => Ok(Some(Step::Packet(packet))),
            Some(Milestone::Complete) => self.keys(expected).map(|keys| Some(Step::Keys(keys))),
            Some(Milestone::Closed) => Ok(Some(Step::Closed)),
            None => Ok(None),
        }
    }

    /// Takes what is to be sent, and sets the time of the next retransmission: from the beginning if
    /// the peer has been `heard` and there is something new to repeat.
    fn settle(&mut self, now: Instant, heard: bool) {
        while let Some(packet) = self.dtls.poll_transmit() {
            self.steps
                .push_back(Milestone::Packet(packet.message.to_vec()));
        }
        let armed = self.dtls.poll_timeout(&PEER);
        if heard && armed == self.armed {
            return;
        }
        if heard {
            self.pause = FIRST_RETRANSMISSION;
        }
        self.armed = armed;
        self.due = armed.map(|_| now + self.pause);
    }

    /// The keys, if the certificate is the one that was signalled. The peer has proved that it is
    /// its own.
    fn keys(&self, expected: &Fingerprint) -> Result<Keys, Error> {
        let lost = || Error::Handshake("there is no association".to_owned());
        let state = self.dtls.get_connection_state(PEER).ok_or_else(lost)?;
        let certificate = state.peer_certificates.first();
        if !certificate.is_some_and(|certificate| expected.matches(certificate)) {
            return Err(Error::Fingerprint);
        }
        let profile = named(state.srtp_protection_profile()).ok_or(Error::NoProfile)?;
        let len = Keys::material_len(profile);
        let material = state.export_keying_material(EXPORTER_LABEL, &[], len);
        let material = material.map_err(|error| failure(&error))?;
        Keys::parse(profile, self.role, material.as_ref()).map_err(|_| Error::NoProfile)
    }
}

/// How our handshakes of DTLS 1.2 are run.
pub(super) struct Configs {
    client: Arc<HandshakeConfig>,
    server: Arc<HandshakeConfig>,
}

impl Configs {
    /// With our certificate and its key, both in DER.
    pub(super) fn new(certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Identity(error.to_string());
        let provider = default_provider().map_err(|error| failed(&error))?;
        let crypto = provider.crypto();
        let key = crypto.import_signing_key(SignatureScheme::EcdsaP256Sha256, key);
        let certificate = Certificate {
            certificate: vec![certificate.to_vec().into()],
            private_key: CryptoPrivateKey::from_signing_key(key.map_err(|error| failed(&error))?),
        };
        let build = |is_client| {
            // Certificates are known by their fingerprints alone (RFC 5763 §5): there is no chain to
            // verify. That the peer has the key is verified nevertheless.
            let config = ConfigBuilder::default()
                .with_crypto_provider(Arc::clone(&provider))
                .with_certificates(vec![certificate.clone()])
                .with_signature_schemes(SCHEMES.to_vec())
                .with_srtp_protection_profiles(PROFILES.to_vec())
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_insecure_skip_verify(true)
                // Keys of 1024 bits: their owner is the one whom the signalling named.
                .with_insecure_verification(true)
                .with_flight_interval(FIRST_RETRANSMISSION)
                .with_server_name("dialtone".to_owned());
            config.build(is_client, None).map(Arc::new)
        };
        Ok(Self {
            client: build(true).map_err(|error| failed(&error))?,
            server: build(false).map_err(|error| failed(&error))?,
        })
    }
}

/// Whom the crate believes to speak with: the media path knows.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// A flight has five datagrams at most and is sent eight times at most; what is encrypted in it
/// fits into one. Later there are only repetitions, and the closure.
const BUDGET: [usize; 2] = [64, 16];

/// Between two ClientHellos that nobody answers.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// No path carries more in one piece.
const MAX_DATAGRAM: usize = 2048;

/// Signatures that we can verify. SHA-1 is not among them.
const SCHEMES: [Scheme; 5] = [
    Scheme::EcdsaWithP256AndSha256,
    Scheme::EcdsaWithP384AndSha384,
    Scheme::Pkcs1WithSha256,
    Scheme::Pkcs1WithSha384,
    Scheme::Pkcs1WithSha512,
];

const PROFILES: [SrtpProtectionProfile; 3] = [
    SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
];

fn named(profile: SrtpProtectionProfile) -> Option<Profile> {
    match profile {
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Some(Profile::Aes128CmSha1_80),
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Some(Profile::AeadAes128Gcm),
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Some(Profile::AeadAes256Gcm),
        _ => None,
    }
}

fn failure(error: &rtc_shared::error::Error) -> Error {
    use rtc_shared::error::Error as E;
    match error {
        E::ErrServerNoMatchingSrtpProfile | E::ErrClientNoMatchingSrtpProfile => Error::NoProfile,
        error => Error::Handshake(error.to_string()),
    }
}
