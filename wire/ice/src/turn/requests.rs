//! Requests to the TURN server, and who may make them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::allocation::Allocation;
use super::credentials::owner;
use super::server::Server;
use super::{
    ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, Client, Command, Out, REFRESH, RelayId, channel,
};
use crate::stun::attribute::{
    CHANNEL_NUMBER, EVEN_PORT, LIFETIME, MESSAGE_INTEGRITY, NONCE, REALM, REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT, RESERVATION_TOKEN, UNKNOWN_ATTRIBUTES, USERNAME, XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS,
};
use crate::stun::{Class, Key, Message, Writer};

/// A request whose sender is known.
struct Known<'m> {
    client: Client,
    message: &'m Message<'m>,
    user: &'m str,
    key: Key,
}

/// Why a request is refused: the number of the error.
type Refused = u16;

impl Server {
    /// The socket of a relay was made, or could not be.
    ///
    /// # Source
    /// RFC 8656 §7.2: 508 if there is no port.
    pub fn bound(&mut self, relay: RelayId, address: Option<SocketAddr>, out: &mut Out) {
        let Some(client) = self.client_of(relay) else {
            return;
        };
        let Some(allocation) = self.allocations.get_mut(&client) else {
            return;
        };
        allocation.relayed = address;
        if address.is_some() {
            return answer_allocate(allocation, allocation.lifetime, out);
        }
        let (key, transaction) = (allocation.key.clone(), allocation.transaction);
        self.remove(client, out);
        out.send(client, |octets| {
            Writer::new(octets, Class::Error, ALLOCATE, transaction)
                .error(508, reason(508))
                .sign(&key);
        });
    }

    /// # Source
    /// RFC 8656 §5, RFC 8489 §9.2.4.
    pub(super) fn on_request(
        &mut self,
        now: Instant,
        client: Client,
        message: &Message<'_>,
        out: &mut Out,
    ) {
        let method = message.method();
        if !(ALLOCATE..=CHANNEL_BIND).contains(&method) {
            return;
        }
        let known = match self.authenticate(now, client, message) {
            Ok(known) => known,
            Err(code) => return self.challenge(now, client, message, code, out),
        };
        if let Some(kind) = message.unknown(UNDERSTOOD).next() {
            return refuse_unknown(&known, kind, out);
        }
        if let Err(code) = self.obey(now, &known, out) {
            out.send(client, |octets| {
                Writer::new(octets, Class::Error, method, message.transaction())
                    .error(code, reason(code))
                    .sign(&known.key);
            });
        }
    }

    fn obey(&mut self, now: Instant, known: &Known<'_>, out: &mut Out) -> Result<(), Refused> {
        match known.message.method() {
            ALLOCATE => self.allocate(now, known, out),
            REFRESH => self.refresh(now, known, out),
            CREATE_PERMISSION => self.create_permission(now, known, out),
            CHANNEL_BIND => self.bind_channel(now, known, out),
            _ => Err(400),
        }
    }

    fn authenticate<'m>(
        &self,
        now: Instant,
        client: Client,
        message: &'m Message<'m>,
    ) -> Result<Known<'m>, Refused> {
        if !message.is_signed() {
            return Err(401);
        }
        let texts = (message.text(USERNAME), message.text(REALM));
        let ((Some(user), Some(realm)), Some(nonce)) = (texts, message.find(NONCE)) else {
            return Err(400);
        };
        if !self.nonces.accepts(now, client.address, nonce) {
            return Err(438);
        }
        if realm != self.config.realm {
            return Err(401);
        }
        let key = self.key(now, client, user).ok_or(401_u16)?;
        if !message.is_signed_by(&key) {
            return Err(401);
        }
        Ok(Known {
            client,
            message,
            user,
            key,
        })
    }

    /// That of the relay, if there is one: a time-limited password is good as long as the relay that it
    /// has brought.
    fn key(&self, now: Instant, client: Client, user: &str) -> Option<Key> {
        let allocation = self.allocations.get(&client);
        match allocation.filter(|allocation| allocation.user == user) {
            Some(allocation) => Some(allocation.key.clone()),
            None => {
                let (users, realm) = (&self.config.users, &self.config.realm);
                users.key(user, realm, self.wall_clock(now))
            }
        }
    }

    /// Refuses who is not known, and says how to become so.
    fn challenge(
        &self,
        now: Instant,
        client: Client,
        message: &Message<'_>,
        code: u16,
        out: &mut Out,
    ) {
        let nonce = self.nonces.issue(now, client.address);
        out.send(client, |octets| {
            let transaction = message.transaction();
            let mut answer = Writer::new(octets, Class::Error, message.method(), transaction);
            answer.error(code, reason(code));
            if code != 400 {
                let realm = self.config.realm.as_bytes();
                answer.put(REALM, realm).put(NONCE, &nonce);
            }
        });
    }

    /// # Source
    /// RFC 8656 §7.2.
    fn allocate(&mut self, now: Instant, known: &Known<'_>, out: &mut Out) -> Result<(), Refused> {
        let (client, message) = (known.client, known.message);
        if let Some(old) = self.allocations.get(&client) {
            if old.transaction != message.transaction() {
                return Err(437);
            }
            if old.relayed.is_some() {
                answer_allocate(old, old.expires.saturating_duration_since(now), out);
            }
            return Ok(());
        }
        let ipv6 = self.wanted(message)?;
        let owned = self.owners.get(owner(known.user)).copied().unwrap_or(0);
        if owned >= self.config.max_relays_per_user {
            return Err(486);
        }
        if self.allocations.len() >= self.config.max_relays {
            return Err(508);
        }
        let relay = self.next_relay();
        let lifetime = self.lifetime(message).max(DEFAULT_LIFETIME);
        self.add(Allocation::new(
            client,
            relay,
            known.user.to_owned(),
            known.key.clone(),
            message.transaction(),
            lifetime,
            now,
        ));
        let even = message.has(EVEN_PORT);
        out.commands.push(Command::Bind { relay, ipv6, even });
        Ok(())
    }

    /// Whether an IPv6 relay is wanted, if what is wanted can be had.
    fn wanted(&self, message: &Message<'_>) -> Result<bool, Refused> {
        const UDP: u8 = 17;
        match message.find(REQUESTED_TRANSPORT) {
            Some([UDP, ..]) => {}
            Some([_, ..]) => return Err(442),
            _ => return Err(400),
        }
        let reserves = message
            .find(EVEN_PORT)
            .is_some_and(|value| value.first() >= Some(&0x80));
        if message.has(RESERVATION_TOKEN) || reserves {
            return Err(508);
        }
        let ipv6 = match message.find(REQUESTED_ADDRESS_FAMILY) {
            None | Some([1, ..]) => false,
            Some([2, ..]) => true,
            _ => return Err(440),
        };
        let offered = if ipv6 {
            self.config.ipv6
        } else {
            self.config.ipv4
        };
        if offered { Ok(ipv6) } else { Err(440) }
    }

    fn lifetime(&self, message: &Message<'_>) -> Duration {
        let asked = message
            .number(LIFETIME)
            .map_or(DEFAULT_LIFETIME, |seconds| {
                Duration::from_secs(u64::from(seconds))
            });
        asked.min(self.config.max_lifetime)
    }

    /// # Source
    /// RFC 8656 §8.2.
    fn refresh(&mut self, now: Instant, known: &Known<'_>, out: &mut Out) -> Result<(), Refused> {
        let ends = known.message.number(LIFETIME) == Some(0);
        if ends && !self.allocations.contains_key(&known.client) {
            // Its end was asked for before, and the answer lost.
            succeed(known, out, |answer| {
                answer.number(LIFETIME, 0);
            });
            return Ok(());
        }
        let relayed = self.owned(known)?.relayed;
        let family = match known.message.find(REQUESTED_ADDRESS_FAMILY) {
            Some([1, ..]) => relayed.is_some_and(|relayed| relayed.is_ipv4()),
            Some([2, ..]) => relayed.is_some_and(|relayed| relayed.is_ipv6()),
            Some(_) => false,
            None => true,
        };
        if !family {
            return Err(443);
        }
        let lifetime = if ends {
            self.remove(known.client, out);
            Duration::ZERO
        } else {
            let lifetime = self.lifetime(known.message).max(DEFAULT_LIFETIME);
            self.extend(known.client, now, lifetime);
            lifetime
        };
        succeed(known, out, |answer| {
            answer.number(LIFETIME, lifetime.as_secs() as u32);
        });
        Ok(())
    }

    /// # Source
    /// RFC 8656 §10.2.
    fn create_permission(
        &mut self,
        now: Instant,
        known: &Known<'_>,
        out: &mut Out,
    ) -> Result<(), Refused> {
        let relayed = self.owned(known)?.relayed;
        let transaction = known.message.transaction();
        let peers = || {
            let attributes = known.message.attributes();
            let peers = attributes.filter(|(kind, _)| *kind == XOR_PEER_ADDRESS);
            peers.map(|(_, value)| crate::stun::attribute::unmask(value, &transaction))
        };
        if peers().next().is_none() {
            return Err(400);
        }
        for peer in peers() {
            self.check_peer(peer.ok_or(400_u16)?, relayed)?;
        }
        let Some(allocation) = self.allocations.get_mut(&known.client) else {
            return Err(437);
        };
        for peer in peers().flatten() {
            if !allocation.permit(now, peer.ip()) {
                return Err(508);
            }
        }
        succeed(known, out, |_| {});
        Ok(())
    }

    /// # Source
    /// RFC 8656 §12.2.
    fn bind_channel(
        &mut self,
        now: Instant,
        known: &Known<'_>,
        out: &mut Out,
    ) -> Result<(), Refused> {
        let relayed = self.owned(known)?.relayed;
        let number = match known.message.find(CHANNEL_NUMBER) {
            Some([a, b, ..]) => u16::from_be_bytes([*a, *b]),
            _ => return Err(400),
        };
        let peer = known.message.address(XOR_PEER_ADDRESS).ok_or(400_u16)?;
        if !channel::NUMBERS.contains(&number) {
            return Err(400);
        }
        self.check_peer(peer, relayed)?;
        if !self.config.policy.allows(peer) {
            return Err(403);
        }
        let Some(allocation) = self.allocations.get_mut(&known.client) else {
            return Err(437);
        };
        allocation.bind(now, number, peer)?;
        succeed(known, out, |_| {});
        Ok(())
    }

    /// The relay of who asks.
    fn owned(&self, known: &Known<'_>) -> Result<&Allocation, Refused> {
        let allocation = self.allocations.get(&known.client).ok_or(437_u16)?;
        if allocation.user == known.user {
            Ok(allocation)
        } else {
            Err(441)
        }
    }

    fn check_peer(&self, peer: SocketAddr, relayed: Option<SocketAddr>) -> Result<(), Refused> {
        let relayed = relayed.ok_or(437_u16)?;
        if relayed.is_ipv4() != peer.is_ipv4() {
            return Err(443);
        }
        if self.config.policy.allows_some(peer.ip()) {
            Ok(())
        } else {
            Err(403)
        }
    }
}

fn answer_allocate(allocation: &Allocation, lifetime: Duration, out: &mut Out) {
    let Some(relayed) = allocation.relayed else {
        return;
    };
    out.send(allocation.client, |octets| {
        Writer::new(octets, Class::Success, ALLOCATE, allocation.transaction)
            .address(XOR_RELAYED_ADDRESS, relayed)
            .address(XOR_MAPPED_ADDRESS, allocation.client.address)
            .number(LIFETIME, lifetime.as_secs() as u32)
            .sign(&allocation.key);
    });
}

fn succeed(known: &Known<'_>, out: &mut Out, write: impl FnOnce(&mut Writer<'_>)) {
    let (method, transaction) = (known.message.method(), known.message.transaction());
    out.send(known.client, |octets| {
        let mut answer = Writer::new(octets, Class::Success, method, transaction);
        write(&mut answer);
        answer.sign(&known.key);
    });
}

/// # Source
/// RFC 8489 §6.3.1.
fn refuse_unknown(known: &Known<'_>, kind: u16, out: &mut Out) {
    let (method, transaction) = (known.message.method(), known.message.transaction());
    out.send(known.client, |octets| {
        Writer::new(octets, Class::Error, method, transaction)
            .error(420, reason(420))
            .put(UNKNOWN_ATTRIBUTES, &kind.to_be_bytes())
            .sign(&known.key);
    });
}

/// # Source
/// RFC 8656 §19, RFC 8489 §14.8.
const fn reason(code: u16) -> &'static str {
    match code {
        400 => "Bad Request",
        401 => "Unauthenticated",
        403 => "Forbidden",
        420 => "Unknown Attribute",
        437 => "Allocation Mismatch",
        438 => "Stale Nonce",
        440 => "Address Family not Supported",
        441 => "Wrong Credentials",
        442 => "Unsupported Transport Protocol",
        443 => "Peer Address Family Mismatch",
        486 => "Allocation Quota Reached",
        508 => "Insufficient Capacity",
        _ => "",
    }
}

/// # Source
/// RFC 8656 §3.2.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);

/// Attributes that need not be refused.
const UNDERSTOOD: &[u16] = &[
    USERNAME,
    MESSAGE_INTEGRITY,
    REALM,
    NONCE,
    LIFETIME,
    CHANNEL_NUMBER,
    XOR_PEER_ADDRESS,
    REQUESTED_TRANSPORT,
    REQUESTED_ADDRESS_FAMILY,
    EVEN_PORT,
    RESERVATION_TOKEN,
];
