//! What protects the packets of a side.

use std::fmt;
use std::time::Instant;

use srtp::{Error, MasterKey, Profile, Receiver, Sender};

use crate::Insecurity;
use crate::certificate::Certificates;
use crate::dtls::{Endpoint, Keys};
use crate::remote::Security;

/// SRTP with one side. Without keys nothing is sent and nothing accepted.
pub(crate) struct Protection {
    agreed: Security,
    keys: Option<(Sender, Receiver)>,
    /// What the SSRCs that we send differ by from those that came.
    alias: u32,
    /// Agrees on keys, if they do not come from SDP.
    endpoint: Option<Box<Endpoint>>,
}

impl Protection {
    /// Puts what was agreed in `place`. Counters and replay windows go on if a protection is there
    /// already, so that saying the same again disturbs nothing and new keys miss no packet.
    ///
    /// # Errors
    /// The keys are not those of the profile, or we have no certificate. Nothing passes then.
    ///
    /// # Source
    /// RFC 4568 §7.1.4: new keys by a new offer and answer
    pub(crate) fn agree(
        place: &mut Option<Box<Self>>,
        security: Security,
        certificates: &Certificates,
        now: Instant,
    ) -> Result<(), Insecurity> {
        if security == Security::Plain {
            *place = None;
            return Ok(());
        }
        let protection = place.get_or_insert_with(|| {
            Box::new(Self {
                agreed: Security::Plain,
                keys: None,
                alias: 0,
                endpoint: None,
            })
        });
        if protection.agreed == security {
            return Ok(());
        }
        let result = protection.change(&security, certificates, now);
        protection.agreed = security;
        if result.is_err() {
            (protection.keys, protection.endpoint) = (None, None);
        }
        result
    }

    fn change(
        &mut self,
        security: &Security,
        certificates: &Certificates,
        now: Instant,
    ) -> Result<(), Insecurity> {
        match security {
            Security::Sdes {
                profile,
                local,
                remote,
            } => {
                self.endpoint = None;
                let (old_local, old_remote) = match &self.agreed {
                    Security::Sdes {
                        profile: old,
                        local,
                        remote,
                    } if old == profile => (Some(local.clone()), Some(remote.clone())),
                    _ => (None, None),
                };
                let local = Some(local).filter(|key| old_local.as_ref() != Some(key));
                let remote = Some(remote).filter(|key| old_remote.as_ref() != Some(key));
                let installed = self.install(*profile, local, remote);
                installed.map_err(|_| Insecurity::KeyLength)
            }
            Security::Dtls {
                fingerprint,
                setup,
                certificate,
            } => {
                let peer = match &self.agreed {
                    Security::Dtls { fingerprint, .. } => Some(fingerprint),
                    _ => None,
                };
                // Another certificate is another party: what was agreed with the one before is void.
                if peer != Some(fingerprint) {
                    self.keys = None;
                }
                let identity = certificates
                    .identity(*certificate)
                    .map_err(Insecurity::Dtls)?;
                let endpoint = Endpoint::new(identity, *setup, *fingerprint, now);
                self.endpoint = Some(Box::new(endpoint));
                Ok(())
            }
            Security::Plain => Ok(()),
        }
    }

    /// What agrees on keys, if they do not come from SDP.
    pub(crate) fn endpoint(&mut self) -> Option<&mut Endpoint> {
        self.endpoint.as_deref_mut()
    }

    /// Uses the keys that were agreed on in the media path; false if that cannot be.
    pub(crate) fn take(&mut self, keys: &Keys) -> bool {
        let installed = self.install(keys.profile, Some(&keys.local), Some(&keys.remote));
        installed.is_ok()
    }

    /// Uses new keys, where they are not the old ones.
    fn install(
        &mut self,
        profile: Profile,
        local: Option<&MasterKey>,
        remote: Option<&MasterKey>,
    ) -> Result<(), Error> {
        match (&mut self.keys, local, remote) {
            (Some((sender, receiver)), local, remote) => {
                local.map_or(Ok(()), |key| sender.rekey(profile, key))?;
                remote.map_or(Ok(()), |key| receiver.rekey(profile, key))
            }
            (keys, Some(local), Some(remote)) => {
                *keys = Some((
                    Sender::new(profile, local)?,
                    Receiver::new(profile, remote)?,
                ));
                Ok(())
            }
            _ => Err(Error::KeyLength),
        }
    }

    /// Reads what the next packet to the side needs.
    pub(crate) fn fetch_sender(&self) {
        if let Some((sender, _)) = &self.keys {
            sender.fetch();
        }
    }

    /// Reads what the next packet of the side needs.
    pub(crate) fn fetch_receiver(&self) {
        if let Some((_, receiver)) = &self.keys {
            receiver.fetch();
        }
    }

    /// Checks and decrypts RTP in place; `None` without keys.
    pub(crate) fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Option<Result<usize, Error>> {
        let (_, receiver) = self.keys.as_mut()?;
        Some(receiver.unprotect_rtp(packet))
    }

    /// Checks and decrypts RTCP in place; `None` without keys.
    pub(crate) fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Option<Result<usize, Error>> {
        let (_, receiver) = self.keys.as_mut()?;
        Some(receiver.unprotect_rtcp(packet))
    }

    /// A source that we pass on counts its packets anew. Under its old SSRC they would use the same
    /// key stream again and are refused, so it gets another one.
    ///
    /// # Source
    /// RFC 3711 §9.1
    pub(crate) fn source_restarted(&mut self) {
        self.alias = self.alias.wrapping_add(GOLDEN);
    }

    /// Protects the RTP packet of `len` bytes at the start of `buffer`; `None` if it must not be
    /// sent.
    pub(crate) fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        alias(buffer, 8, self.alias);
        self.protect_carried_rtp(buffer, len)
    }

    /// As [`protect_rtp`](Self::protect_rtp), of another stream that shares the keys.
    pub(crate) fn protect_carried_rtp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let (sender, _) = self.keys.as_mut()?;
        sender.protect_rtp(buffer, len).ok()
    }

    /// Protects the RTCP datagram of `len` bytes at the start of `buffer`; `None` if it must not be
    /// sent.
    pub(crate) fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        alias(buffer, 4, self.alias);
        self.protect_carried_rtcp(buffer, len)
    }

    /// As [`protect_rtcp`](Self::protect_rtcp), of another stream that shares the keys.
    pub(crate) fn protect_carried_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let (sender, _) = self.keys.as_mut()?;
        sender.protect_rtcp(buffer, len).ok()
    }
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protection({:?})", self.agreed)
    }
}

/// Changes the SSRC that stands at `at`.
pub(crate) fn alias(packet: &mut [u8], at: usize, alias: u32) {
    if alias != 0
        && let Some(ssrc) = packet.get_mut(at..).and_then(|p| p.first_chunk_mut::<4>())
    {
        *ssrc = u32::from_be_bytes(*ssrc).wrapping_add(alias).to_be_bytes();
    }
}

/// Odd, so that it takes 2^32 restarts to come round, and far from what SSRCs differ by.
pub(crate) const GOLDEN: u32 = 0x9e37_79b9;
