//! The machine: who has which relay, and what passes through it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::allocation::Allocation;
use super::credentials::{Nonces, Users, owner};
use super::policy::Policy;
use super::{Client, Command, DATA_FROM_PEER, Out, RelayId, SEND, channel};
use crate::stun::attribute::{DATA, XOR_PEER_ADDRESS};
use crate::stun::{Class, Message, TransactionId, Writer, answer_binding};

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// The domain of the users' names.
    pub realm: String,
    /// Who may have a relay.
    pub users: Users,
    /// With whom relays may speak.
    pub policy: Policy,
    /// Relays at once; of more, clients hear 508.
    pub max_relays: usize,
    /// Relays of one user at once; of more, they hear 486.
    pub max_relays_per_user: usize,
    /// Relays may have IPv4 addresses.
    pub ipv4: bool,
    /// Relays may have IPv6 addresses.
    pub ipv6: bool,
    /// How long a relay may live without being refreshed.
    pub max_lifetime: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            realm: "dialtone".into(),
            users: Users::default(),
            policy: Policy::default(),
            max_relays: 1000,
            max_relays_per_user: 16,
            ipv4: true,
            ipv6: false,
            max_lifetime: Duration::from_secs(3600),
        }
    }
}

/// A TURN and STUN server. Who has not shown a password costs it no memory.
///
/// # Source
/// RFC 8656.
pub struct Server {
    pub(super) config: Config,
    pub(super) nonces: Nonces,
    /// What 1970 was before `start`.
    start: Instant,
    since_1970: Duration,
    pub(super) allocations: HashMap<Client, Allocation>,
    relays: HashMap<RelayId, Client>,
    /// How many relays each user has.
    pub(super) owners: HashMap<String, usize>,
    expiries: BTreeSet<(Instant, RelayId)>,
    last_relay: u32,
    last_indication: u64,
}

impl Server {
    /// A server without clients. `seed` makes its nonces unguessable; `since_1970` is the time at `now`.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Instant, since_1970: Duration) -> Self {
        Self {
            config,
            nonces: Nonces::new(&seed, now),
            start: now,
            since_1970,
            allocations: HashMap::new(),
            relays: HashMap::new(),
            owners: HashMap::new(),
            expiries: BTreeSet::new(),
            last_relay: 0,
            last_indication: 0,
        }
    }

    /// Relays that exist.
    #[must_use]
    pub fn relays(&self) -> usize {
        self.allocations.len()
    }

    /// Whether a client has a relay.
    #[must_use]
    pub fn has_relay(&self, client: Client) -> bool {
        self.allocations.contains_key(&client)
    }

    /// Takes other users, realm, policy and limits. Relays stay until they have to be refreshed.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// Takes what came from a client: a STUN message or channel data.
    pub fn handle(&mut self, now: Instant, client: Client, datagram: &[u8], out: &mut Out) {
        if let Some((number, data)) = channel::parse(datagram) {
            return self.on_channel_data(now, client, number, data, out);
        }
        let Ok(message) = Message::parse(datagram) else {
            return;
        };
        match (message.class(), message.method()) {
            (Class::Request, crate::stun::BINDING) => {
                out.send(client, |octets| {
                    answer_binding(datagram, client.address, octets);
                });
            }
            (Class::Request, _) => self.on_request(now, client, &message, out),
            (Class::Indication, SEND) => self.on_send(now, client, &message, out),
            _ => {}
        }
    }

    /// Takes what came from a peer to a relay.
    ///
    /// # Source
    /// RFC 8656 §11.3, §12.6.
    pub fn relayed(
        &mut self,
        now: Instant,
        relay: RelayId,
        peer: SocketAddr,
        data: &[u8],
        out: &mut Out,
    ) {
        let client = self.relays.get(&relay);
        let Some(allocation) = client.and_then(|client| self.allocations.get(client)) else {
            return;
        };
        if !allocation.permits(now, peer.ip()) || allocation.expires <= now {
            return;
        }
        let client = allocation.client;
        if let Some(number) = allocation.channel(now, peer) {
            let stream = client.connection != 0;
            return out.send(client, |out| channel::encode(number, data, stream, out));
        }
        self.last_indication += 1;
        let mut id = TransactionId::default();
        id.0[4..].copy_from_slice(&self.last_indication.to_be_bytes());
        out.send(client, |out| {
            Writer::new(out, Class::Indication, DATA_FROM_PEER, id)
                .address(XOR_PEER_ADDRESS, peer)
                .put(DATA, data);
        });
    }

    /// A stream has ended: what came by it has no relay any more.
    ///
    /// # Source
    /// RFC 8656 §7.4 does not say so; but nobody can use that 5-tuple again.
    pub fn hang_up(&mut self, client: Client, out: &mut Out) {
        self.remove(client, out);
    }

    /// When [`Server::wake`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Closes relays that were not refreshed.
    pub fn wake(&mut self, now: Instant, out: &mut Out) {
        while let Some((at, relay)) = self
            .expiries
            .first()
            .copied()
            .filter(|first| first.0 <= now)
        {
            match self.relays.get(&relay) {
                Some(client) => self.remove(*client, out),
                None => {
                    self.expiries.remove(&(at, relay));
                }
            }
        }
    }

    /// Seconds since 1970.
    pub(super) fn wall_clock(&self, now: Instant) -> Duration {
        self.since_1970 + now.saturating_duration_since(self.start)
    }

    pub(super) fn add(&mut self, allocation: Allocation) {
        let owner = owner(&allocation.user).to_owned();
        *self.owners.entry(owner).or_default() += 1;
        self.relays.insert(allocation.relay, allocation.client);
        self.expiries.insert((allocation.expires, allocation.relay));
        self.allocations.insert(allocation.client, allocation);
    }

    pub(super) fn remove(&mut self, client: Client, out: &mut Out) {
        let Some(allocation) = self.allocations.remove(&client) else {
            return;
        };
        let relay = allocation.relay;
        self.relays.remove(&relay);
        self.expiries.remove(&(allocation.expires, relay));
        let owner = owner(&allocation.user);
        if let Some(count) = self.owners.get_mut(owner) {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(owner);
            }
        }
        out.commands.push(Command::Close { relay });
    }

    /// Gives an allocation another end.
    pub(super) fn extend(&mut self, client: Client, now: Instant, lifetime: Duration) {
        if let Some(allocation) = self.allocations.get_mut(&client) {
            self.expiries
                .remove(&(allocation.expires, allocation.relay));
            allocation.expires = now + lifetime;
            self.expiries.insert((allocation.expires, allocation.relay));
        }
    }

    pub(super) fn client_of(&self, relay: RelayId) -> Option<Client> {
        self.relays.get(&relay).copied()
    }

    /// A number that no relay has.
    pub(super) fn next_relay(&mut self) -> RelayId {
        loop {
            self.last_relay = self.last_relay.wrapping_add(1);
            let relay = RelayId(self.last_relay);
            if !self.relays.contains_key(&relay) {
                return relay;
            }
        }
    }

    /// # Source
    /// RFC 8656 §12.6.
    fn on_channel_data(
        &self,
        now: Instant,
        client: Client,
        number: u16,
        data: &[u8],
        out: &mut Out,
    ) {
        let Some(allocation) = self.allocations.get(&client) else {
            return;
        };
        let peer = allocation.peer(now, number);
        if let Some(peer) = peer.filter(|peer| self.may_send(now, allocation, *peer)) {
            out.forward(allocation.relay, peer, data);
        }
    }

    /// # Source
    /// RFC 8656 §11.2.
    fn on_send(&self, now: Instant, client: Client, message: &Message<'_>, out: &mut Out) {
        let Some(allocation) = self.allocations.get(&client) else {
            return;
        };
        let is_understood = message.unknown(&[XOR_PEER_ADDRESS, DATA]).next().is_none();
        let peer = message.address(XOR_PEER_ADDRESS);
        if let (Some(peer), Some(data), true) = (peer, message.find(DATA), is_understood)
            && self.may_send(now, allocation, peer)
        {
            out.forward(allocation.relay, peer, data);
        }
    }

    fn may_send(&self, now: Instant, allocation: &Allocation, peer: SocketAddr) -> bool {
        let same_family = |relayed: SocketAddr| relayed.is_ipv4() == peer.is_ipv4();
        allocation.expires > now
            && allocation.relayed.is_some_and(same_family)
            && allocation.permits(now, peer.ip())
            && self.config.policy.allows(peer)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("relays", &self.relays())
            .finish_non_exhaustive()
    }
}
