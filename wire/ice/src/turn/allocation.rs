//! One client's relay, and whom it speaks with.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::{Client, RelayId};
use crate::stun::{Key, TransactionId};

/// One client's relay.
#[derive(Debug)]
pub struct Allocation {
    pub(super) client: Client,
    pub(super) relay: RelayId,
    /// Who has authenticated; only they may change it.
    pub(super) user: String,
    pub(super) key: Key,
    /// None while its socket is being made.
    pub(super) relayed: Option<SocketAddr>,
    /// Of the Allocate: when that comes again, its answer was lost.
    pub(super) transaction: TransactionId,
    pub(super) lifetime: Duration,
    pub(super) expires: Instant,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
}

/// A peer may send to the client.
#[derive(Clone, Copy, Debug)]
struct Permission {
    ip: IpAddr,
    expires: Instant,
}

/// A peer that has a number.
#[derive(Clone, Copy, Debug)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    expires: Instant,
}

impl Allocation {
    pub(super) fn new(
        client: Client,
        relay: RelayId,
        user: String,
        key: Key,
        transaction: TransactionId,
        lifetime: Duration,
        now: Instant,
    ) -> Self {
        Self {
            client,
            relay,
            user,
            key,
            relayed: None,
            transaction,
            lifetime,
            expires: now + lifetime,
            permissions: Vec::new(),
            channels: Vec::new(),
        }
    }

    /// Whether data from and to this address passes.
    ///
    /// # Source
    /// RFC 8656 §9.
    pub(super) fn permits(&self, now: Instant, ip: IpAddr) -> bool {
        let mut permissions = self.permissions.iter();
        permissions.any(|permission| permission.ip == ip && permission.expires > now)
    }

    /// Lets data pass for five minutes; `false` if there is no room: an allocation has 64 permissions.
    ///
    /// # Source
    /// RFC 8656 §9, §10.2.
    pub(super) fn permit(&mut self, now: Instant, ip: IpAddr) -> bool {
        let expires = now + PERMISSION;
        if let Some(old) = self.permissions.iter_mut().find(|old| old.ip == ip) {
            old.expires = expires;
            return true;
        }
        self.permissions.retain(|old| old.expires > now);
        let fits = self.permissions.len() < PERMISSIONS;
        if fits {
            self.permissions.push(Permission { ip, expires });
        }
        fits
    }

    /// The peer behind a number.
    pub(super) fn peer(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        let mut channels = self.channels.iter();
        let found = channels.find(|channel| channel.number == number && channel.expires > now);
        found.map(|channel| channel.peer)
    }

    /// The number of a peer.
    pub(super) fn channel(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        let mut channels = self.channels.iter();
        let found = channels.find(|channel| channel.peer == peer && channel.expires > now);
        found.map(|channel| channel.number)
    }

    /// Gives a peer a number for ten minutes, and a permission.
    ///
    /// # Errors
    /// 400 if number or peer belong to another; 508 if there is no room: an allocation has 64 channels.
    ///
    /// # Source
    /// RFC 8656 §12, §12.2.
    pub(super) fn bind(&mut self, now: Instant, number: u16, peer: SocketAddr) -> Result<(), u16> {
        self.channels.retain(|old| old.expires > now);
        let expires = now + CHANNEL;
        let is_full = self.channels.len() >= CHANNELS;
        let is_concerned = |old: &&mut Channel| old.number == number || old.peer == peer;
        match self.channels.iter_mut().find(is_concerned) {
            Some(old) if old.number == number && old.peer == peer => old.expires = expires,
            Some(_) => return Err(400),
            None if is_full => return Err(508),
            None => self.channels.push(Channel {
                number,
                peer,
                expires,
            }),
        }
        if self.permit(now, peer.ip()) {
            Ok(())
        } else {
            Err(508)
        }
    }
}

/// # Source
/// RFC 8656 §9.
const PERMISSION: Duration = Duration::from_secs(300);

/// # Source
/// RFC 8656 §12.
const CHANNEL: Duration = Duration::from_secs(600);

const PERMISSIONS: usize = 64;

const CHANNELS: usize = 64;
