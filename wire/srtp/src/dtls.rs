//! Keys from a DTLS handshake.

use crate::{Error, MasterKey, Profile};

/// The label with which DTLS exports the keying material.
///
/// # Source
/// RFC 5764 §4.2
pub const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Who we were in the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// We sent the ClientHello.
    Client,
    /// The peer did.
    Server,
}

/// The keys of both directions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    /// With which profile they are used.
    pub profile: Profile,
    /// We protect with this.
    pub local: MasterKey,
    /// The peer protects with this.
    pub remote: MasterKey,
}

impl Keys {
    /// How many bytes are to be exported for `profile`.
    #[must_use]
    pub const fn material_len(profile: Profile) -> usize {
        2 * MasterKey::len_for(profile)
    }

    /// Cuts the exported `material` up: client's key, server's key, client's salt, server's salt.
    ///
    /// # Errors
    /// [`Error::KeyLength`] if there are less than [`Keys::material_len`] bytes.
    ///
    /// # Source
    /// RFC 5764 §4.2
    pub fn parse(profile: Profile, role: Role, material: &[u8]) -> Result<Self, Error> {
        let material = material.get(..Self::material_len(profile));
        let material = material.ok_or(Error::KeyLength)?;
        let (keys, salts) = material.split_at(2 * profile.key_len());
        let (client_key, server_key) = keys.split_at(profile.key_len());
        let (client_salt, server_salt) = salts.split_at(profile.salt_len());
        let client = MasterKey::new(client_key, client_salt)?;
        let server = MasterKey::new(server_key, server_salt)?;
        let (local, remote) = match role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        };
        Ok(Self {
            profile,
            local,
            remote,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5764_4_2_keys_come_before_salts_and_the_client_before_the_server() {
        let profile = Profile::AeadAes128Gcm;
        let material = [&[1; 16][..], &[2; 16], &[3; 12], &[4; 12]].concat();
        let client = Keys::parse(profile, Role::Client, &material).unwrap();
        assert_eq!(client.local, MasterKey::new(&[1; 16], &[3; 12]).unwrap());
        assert_eq!(client.remote, MasterKey::new(&[2; 16], &[4; 12]).unwrap());
        let server = Keys::parse(profile, Role::Server, &material).unwrap();
        assert_eq!((server.local, server.remote), (client.remote, client.local));
        let short = Keys::parse(profile, Role::Server, &material[1..]);
        assert_eq!(short, Err(Error::KeyLength));
    }
}
