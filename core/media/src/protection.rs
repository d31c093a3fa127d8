//! What protects the packets of a side.

use std::fmt;

use srtp::{Error, MasterKey, Profile, Receiver, Sender};

use crate::remote::Security;

/// SRTP with one side. Without keys nothing is sent and nothing accepted.
pub(crate) struct Protection {
    agreed: Security,
    keys: Option<(Sender, Receiver)>,
}

impl Protection {
    /// Puts what was agreed in `place`. Counters and replay windows go on if a protection is there
    /// already, so that saying the same again disturbs nothing and new keys miss no packet.
    ///
    /// # Errors
    /// [`Error::KeyLength`]: the keys are not those of the profile. Nothing passes then.
    ///
    /// # Source
    /// RFC 4568 §7.1.4: new keys by a new offer and answer
    pub(crate) fn agree(place: &mut Option<Box<Self>>, security: Security) -> Result<(), Error> {
        if security == Security::Plain {
            *place = None;
            return Ok(());
        }
        let protection = place.get_or_insert_with(|| {
            Box::new(Self {
                agreed: Security::Plain,
                keys: None,
            })
        });
        protection.change(security)
    }

    fn change(&mut self, security: Security) -> Result<(), Error> {
        if self.agreed == security {
            return Ok(());
        }
        let result = match &security {
            Security::Sdes {
                profile,
                local,
                remote,
            } => {
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
                self.install(*profile, local, remote)
            }
            Security::Plain => Ok(()),
        };
        self.agreed = security;
        if result.is_err() {
            self.keys = None;
        }
        result
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

    /// Protects the RTP packet of `len` bytes at the start of `buffer`; `None` if it must not be
    /// sent.
    pub(crate) fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let (sender, _) = self.keys.as_mut()?;
        sender.protect_rtp(buffer, len).ok()
    }

    /// Protects the RTCP datagram of `len` bytes at the start of `buffer`; `None` if it must not be
    /// sent.
    pub(crate) fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let (sender, _) = self.keys.as_mut()?;
        sender.protect_rtcp(buffer, len).ok()
    }
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protection({:?})", self.agreed)
    }
}
