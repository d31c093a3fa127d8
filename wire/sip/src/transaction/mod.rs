//! Transactions (RFC 3261 §17 with RFC 6026): retransmission, absorption of retransmissions, time-outs.
//!
//! One [`Transactions`] holds all transactions of a slot. The transaction user hands it every message
//! first and acts on what comes back:
//!
//! ```text
//! request  → receive_request  → New(key)      → handle, then respond(key, …)
//!                             → Absorbed      → nothing to do
//! response → receive_response → Some(key)     → handle
//! deadline → expire           → Expired::…    → handle, until None
//! ```
//!
//! Two duties that RFC 3261 gives to the user are done here, because the bytes and timers are here:
//! 2xx answers to INVITE are repeated until [`Transactions::acknowledge`] (§13.3.1.4), and reliable
//! provisional ones until [`Transactions::acknowledge_provisional`] (RFC 3262 §3).

mod client;
mod length;
mod server;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as StdHash, Hasher};
use std::time::{Duration, Instant};

use base::{Deadlines, Mint, Slot, Token};

use crate::header::HeaderName;
use crate::{Flow, Message, Method, Protocol, StatusCode};
use client::Client;
use length::DatagramsOnly;
use server::Server;

/// T1: an estimate of the round trip (RFC 3261 §17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// T2: the longest interval between repetitions of a non-INVITE request or an INVITE's answer.
pub const T2: Duration = Duration::from_secs(4);
/// T4: how long a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64×T1: timers B, F, H, J, L and M; how long anything is tried.
pub const GIVE_UP: Duration = Duration::from_secs(32);

/// Takes messages for the network.
pub trait Transmit {
    /// Queues `message` for `flow`.
    fn transmit(&mut self, flow: Flow, message: &[u8]);
}

/// All transactions of one slot.
///
/// `C` and `S` are what the user keeps beside a client or server transaction; they live as long as it
/// does.
#[derive(Debug)]
pub struct Transactions<C, S> {
    clients: HashMap<ClientKey, (Client, Option<C>), Keyed>,
    servers: HashMap<ServerKey, (Server, Option<S>), Keyed>,
    deadlines: Deadlines<Key>,
    datagrams_only: DatagramsOnly,
    seed: u64,
}

impl<C, S: Clone> Transactions<C, S> {
    /// None yet. `mint` gives the secret that keeps peers from choosing colliding keys.
    #[must_use]
    pub fn new(mint: &mut Mint) -> Self {
        Self {
            clients: HashMap::default(),
            servers: HashMap::default(),
            deadlines: Deadlines::new(),
            datagrams_only: DatagramsOnly::default(),
            seed: mint.number64(),
        }
    }

    /// When [`expire`](Self::expire) wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// How many transactions are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// Whether there is no transaction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Matches a request to its server transaction, or makes one (RFC 3261 §17.2.3): [`absorb`] and
    /// [`begin`] in one.
    ///
    /// [`absorb`]: Self::absorb
    /// [`begin`]: Self::begin
    pub fn receive_request(
        &mut self,
        now: Instant,
        flow: Flow,
        request: &Message<'_>,
        out: &mut impl Transmit,
    ) -> Received {
        let received = self.absorb(now, request, out);
        if let Received::New(key) = received {
            self.begin(now, key, flow, request);
        }
        received
    }

    /// Matches a request to its server transaction. One that belongs to none comes back as
    /// [`Received::New`] and may be answered without a transaction, or have one made by
    /// [`begin`](Self::begin).
    pub fn absorb(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        out: &mut impl Transmit,
    ) -> Received {
        let method = request.method().unwrap_or(Method::Other(""));
        let key = self.server_key(request, method);
        if let Some((server, _)) = self.servers.get_mut(&key) {
            let absorbed = server.receive(now, method, out);
            self.arm_server(key);
            return if absorbed {
                Received::Absorbed
            } else {
                Received::New(key)
            };
        }
        Received::New(key)
    }

    /// Makes the server transaction of a request that came back from [`absorb`](Self::absorb). An ACK
    /// never has one of its own.
    pub fn begin(&mut self, now: Instant, key: ServerKey, flow: Flow, request: &Message<'_>) {
        let method = request.method().unwrap_or(Method::Ack);
        if method == Method::Ack {
            return;
        }
        let back = crate::response_flow(request, flow);
        self.servers
            .insert(key, (Server::new(now, method, back), None));
        self.arm_server(key);
    }

    /// A tag for an answer without a transaction: the same each time that the same request comes (RFC
    /// 3261 §8.2.7).
    #[must_use]
    pub fn stateless_tag(&self, slot: Slot, request: &Message<'_>) -> Token {
        let key = self.server_key(request, request.method().unwrap_or(Method::Other("")));
        let mut hash = Hash::new(self.seed.rotate_left(32));
        hash.0.write_u64(key.0);
        Token::new(slot, hash.0.finish())
    }

    /// A keyed hash of these texts, for what only this slot must be able to make.
    pub(crate) fn mark<'t>(&self, parts: impl Iterator<Item = &'t str>) -> u64 {
        let mut hash = Hash::new(self.seed.rotate_left(17));
        parts.for_each(|part| hash.part(part));
        hash.0.finish()
    }

    /// The INVITE transaction that a CANCEL is about (RFC 3261 §9.2).
    #[must_use]
    pub fn cancelled(&self, cancel: &Message<'_>) -> Option<ServerKey> {
        let key = self.server_key(cancel, Method::Invite);
        self.servers.contains_key(&key).then_some(key)
    }

    /// Sends a response in a transaction and keeps it for repetitions. A final answer to a
    /// transaction that has one already is not sent.
    pub fn respond(
        &mut self,
        now: Instant,
        key: ServerKey,
        status: StatusCode,
        response: &[u8],
        out: &mut impl Transmit,
    ) {
        if let Some((server, _)) = self.servers.get_mut(&key) {
            server.respond(now, status, response, out);
            self.arm_server(key);
        }
    }

    /// Passes on a 2xx that a callee gave to an INVITE which was forwarded. The callee repeats it until
    /// its ACK comes, so it is not repeated here, and every further one is passed on too (timer L).
    ///
    /// # Source
    /// RFC 6026 §7.1, §8.4; RFC 3261 §16.7 step 5.
    pub fn relay_success(
        &mut self,
        now: Instant,
        key: ServerKey,
        response: &[u8],
        out: &mut impl Transmit,
    ) {
        if let Some((server, _)) = self.servers.get_mut(&key) {
            server.relay_success(now, response, out);
            self.arm_server(key);
        }
    }

    /// Sends a provisional response to INVITE and repeats it until
    /// [`acknowledge_provisional`](Self::acknowledge_provisional) (RFC 3262 §3).
    pub fn respond_reliably(
        &mut self,
        now: Instant,
        key: ServerKey,
        response: &[u8],
        out: &mut impl Transmit,
    ) {
        if let Some((server, _)) = self.servers.get_mut(&key) {
            server.respond_reliably(now, response, out);
            self.arm_server(key);
        }
    }

    /// The PRACK for the reliable provisional response has come.
    pub fn acknowledge_provisional(&mut self, key: ServerKey) {
        if let Some((server, _)) = self.servers.get_mut(&key) {
            server.acknowledge_provisional();
        }
    }

    /// The ACK for the 2xx response has come.
    pub fn acknowledge(&mut self, now: Instant, key: ServerKey) {
        if let Some((server, _)) = self.servers.get_mut(&key) {
            server.acknowledge(now);
            self.arm_server(key);
        }
    }

    /// Forgets a server transaction that was answered without it, or never will be.
    pub fn forget(&mut self, key: ServerKey) {
        self.servers.remove(&key);
    }

    /// Sends a request and makes its client transaction. The topmost Via of `request` must carry the
    /// branch `z9hG4bK` + `branch`, to which a point and more may be added.
    #[expect(clippy::too_many_arguments, reason = "the parts of one transaction")]
    pub fn request(
        &mut self,
        now: Instant,
        flow: Flow,
        method: Method<'_>,
        branch: Token,
        request: &[u8],
        owner: C,
        out: &mut impl Transmit,
    ) -> ClientKey {
        let key = ClientKey {
            branch,
            cancel: false,
        };
        self.start_client(now, flow, method, key, request, Some(owner), out);
        key
    }

    /// Like [`request`](Self::request), but a request that is too long for a datagram is tried over TCP
    /// first. For peers that connections can be made to: none of those behind a NAT.
    ///
    /// # Source
    /// RFC 3261 §18.1.1.
    #[expect(clippy::too_many_arguments, reason = "those of `request`")]
    pub fn request_by_length(
        &mut self,
        now: Instant,
        flow: Flow,
        method: Method<'_>,
        branch: Token,
        request: &[u8],
        owner: C,
        out: &mut impl Transmit,
    ) -> ClientKey {
        let fits = !length::is_too_long(request) || self.datagrams_only.contains(flow.remote);
        if flow.protocol != Protocol::Udp || fits {
            return self.request(now, flow, method, branch, request, owner, out);
        }
        let flow = Flow {
            protocol: Protocol::Tcp,
            connection: None,
            ..flow
        };
        let mut request = request.to_vec();
        length::rename_transport(&mut request, Protocol::Tcp);
        let key = self.request(now, flow, method, branch, &request, owner, out);
        if let Some((client, _)) = self.clients.get_mut(&key) {
            client.allow_datagram(now + length::PATIENCE);
            self.arm_client(key);
        }
        key
    }

    /// What the user keeps beside a client transaction.
    pub fn client(&mut self, key: ClientKey) -> Option<&mut C> {
        self.clients.get_mut(&key)?.1.as_mut()
    }

    /// What the user keeps beside a server transaction.
    pub fn server(&self, key: ServerKey) -> Option<&S> {
        self.servers.get(&key)?.1.as_ref()
    }

    /// Keeps something beside a server transaction.
    pub fn keep(&mut self, key: ServerKey, owner: S) {
        if let Some((_, kept)) = self.servers.get_mut(&key) {
            *kept = Some(owner);
        }
    }

    /// Gives up a pending INVITE: sends CANCEL, at once or as soon as a provisional response has come
    /// (RFC 3261 §9.1). `reason` is the value of a Reason header field. If no final response follows
    /// within 64×T1, the INVITE expires.
    pub fn cancel(
        &mut self,
        now: Instant,
        key: ClientKey,
        reason: Option<&str>,
        out: &mut impl Transmit,
    ) {
        let Some((client, _)) = self.clients.get_mut(&key) else {
            return;
        };
        if let Some(cancel) = client.cancel(now, reason) {
            let flow = client.flow();
            self.arm_client(key);
            self.send_cancel(now, flow, key.branch, &cancel, out);
        }
    }

    /// Matches a response to its client transaction (RFC 3261 §17.1.3). `None`: it is a stray one or a
    /// repetition that was absorbed.
    pub fn receive_response(
        &mut self,
        now: Instant,
        response: &Message<'_>,
        out: &mut impl Transmit,
    ) -> Option<ClientKey> {
        let status = response.status()?;
        let branch = minted_part(response.top_via().ok()?.branch_token()?)?;
        let method = response.cseq().ok()?.method;
        let key = ClientKey {
            branch,
            cancel: method == Method::Cancel,
        };
        let (client, _) = self
            .clients
            .get_mut(&key)
            .filter(|(client, _)| client.method() == method.detach())?;
        let wanted = client.receive(now, status, response, out);
        if let Some((cancel, flow)) = client.take_cancel(now) {
            self.send_cancel(now, flow, branch, &cancel, out);
        }
        self.arm_client(key);
        (wanted && !key.cancel).then_some(key)
    }

    /// What was sent to `flow` did not arrive: takes the client transactions that still wait for a
    /// first answer there, for which no answer can come any more. A long request for which there is still
    /// the way of a datagram is not among them: it takes it when [`expire`](Self::expire) is called, at
    /// once.
    pub fn unreachable(&mut self, flow: &Flow) -> Vec<(ClientKey, C)> {
        let lost: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, (client, _))| client.waits_for(flow))
            .map(|(key, _)| *key)
            .collect();
        let mut over = Vec::new();
        for key in lost {
            let client = self.clients.get_mut(&key).map(|(client, _)| client);
            if client.is_some_and(Client::give_up_stream) {
                self.arm_client(key);
            } else if let Some((_, Some(owner))) = self.clients.remove(&key) {
                over.push((key, owner));
            }
        }
        over
    }

    /// Repeats what is due and tells what has timed out. Call until it returns `None`.
    pub fn expire(&mut self, now: Instant, out: &mut impl Transmit) -> Option<Expired<C, S>> {
        while let Some(key) = self.deadlines.pop_due(now) {
            let expired = match key {
                Key::Client(key) => self.expire_client(now, key, out),
                Key::Server(key) => self.expire_server(now, key, out),
            };
            if expired.is_some() {
                return expired;
            }
        }
        None
    }

    fn expire_client(
        &mut self,
        now: Instant,
        key: ClientKey,
        out: &mut impl Transmit,
    ) -> Option<Expired<C, S>> {
        let (client, _) = self.clients.get_mut(&key)?;
        client.disarm(now);
        if client.is_to_fall_back(now) {
            self.datagrams_only.insert(client.flow().remote);
            client.fall_back(now, out);
            self.arm_client(key);
            return None;
        }
        match client.expire(now, out) {
            Fate::Lives => {
                self.arm_client(key);
                None
            }
            Fate::Over => {
                self.clients.remove(&key);
                give_back(&mut self.clients);
                None
            }
            Fate::TimedOut => {
                let (_, owner) = self.clients.remove(&key)?;
                owner.map(|owner| Expired::Client(key, owner))
            }
        }
    }

    fn expire_server(
        &mut self,
        now: Instant,
        key: ServerKey,
        out: &mut impl Transmit,
    ) -> Option<Expired<C, S>> {
        let (server, kept) = self.servers.get_mut(&key)?;
        server.disarm(now);
        match server.expire(now, out) {
            Fate::Lives => {
                self.arm_server(key);
                None
            }
            Fate::Over => {
                self.servers.remove(&key);
                give_back(&mut self.servers);
                None
            }
            Fate::TimedOut if server.is_provisional() => {
                server.acknowledge_provisional();
                let owner = kept.clone();
                self.arm_server(key);
                owner.map(Expired::Provisional)
            }
            Fate::TimedOut => {
                let (_, owner) = self.servers.remove(&key)?;
                owner.map(Expired::Accepted)
            }
        }
    }

    fn send_cancel(
        &mut self,
        now: Instant,
        flow: Flow,
        branch: Token,
        cancel: &[u8],
        out: &mut impl Transmit,
    ) {
        let key = ClientKey {
            branch,
            cancel: true,
        };
        self.start_client(now, flow, Method::Cancel, key, cancel, None, out);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one transaction")]
    fn start_client(
        &mut self,
        now: Instant,
        flow: Flow,
        method: Method<'_>,
        key: ClientKey,
        request: &[u8],
        owner: Option<C>,
        out: &mut impl Transmit,
    ) {
        out.transmit(flow, request);
        self.clients
            .insert(key, (Client::new(now, flow, method, request), owner));
        self.arm_client(key);
    }

    fn arm_client(&mut self, key: ClientKey) {
        if let Some(at) = self
            .clients
            .get_mut(&key)
            .and_then(|(client, _)| client.timer.arm())
        {
            self.deadlines.arm(at, Key::Client(key));
        }
    }

    fn arm_server(&mut self, key: ServerKey) {
        if let Some(at) = self
            .servers
            .get_mut(&key)
            .and_then(|(server, _)| server.timer.arm())
        {
            self.deadlines.arm(at, Key::Server(key));
        }
    }

    /// RFC 3261 §17.2.3: branch, sent-by and method; without the magic cookie Request-URI, From tag,
    /// Call-ID, CSeq and the whole Via. An ACK counts as an INVITE.
    fn server_key(&self, request: &Message<'_>, method: Method<'_>) -> ServerKey {
        let mut hash = Hash::new(self.seed);
        let method = if method == Method::Ack {
            Method::Invite
        } else {
            method
        };
        hash.part(method.as_str());
        let via = request.top_via().ok();
        match via.and_then(|via| Some((via, via.branch_token()?))) {
            Some((via, token)) => {
                hash.part(token);
                hash.part_without_case(via.host);
                hash.0.write_u16(via.port.unwrap_or(0));
            }
            None => {
                hash.part(request.values(HeaderName::Via).next().unwrap_or(""));
                hash.part(request.request_uri());
                hash.part(
                    request
                        .from()
                        .ok()
                        .and_then(|from| from.tag())
                        .unwrap_or(""),
                );
                hash.part(request.call_id());
                hash.0
                    .write_u32(request.cseq().map_or(0, |cseq| cseq.number));
            }
        }
        ServerKey(hash.0.finish())
    }
}

/// The token of a branch of ours: what may stand behind it, parted by a point, is for the one who
/// chose it.
pub(crate) fn minted_part(branch: &str) -> Option<Token> {
    let token = branch.split_once('.').map_or(branch, |(token, _)| token);
    Token::parse(token)
}

/// What a request turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// A request to act on. Answer it with this key.
    New(ServerKey),
    /// A repetition, or the ACK of a refusal: it has been dealt with.
    Absorbed,
}

/// A transaction that ran out of time.
///
/// Each comes with what the user kept beside the transaction; one beside which nothing was kept ends
/// without a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expired<C, S> {
    /// No (final) answer came: timers B and F. Act as if 408 had come (RFC 3261 §8.1.3.1).
    Client(ClientKey, C),
    /// No ACK came for a 2xx: the dialog should be ended (RFC 3261 §13.3.1.4).
    Accepted(S),
    /// No PRACK came for a reliable provisional response: the request should be refused (RFC 3262 §3).
    Provisional(S),
}

/// Names a client transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClientKey {
    branch: Token,
    cancel: bool,
}

/// Names a server transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServerKey(u64);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Client(ClientKey),
    Server(ServerKey),
}

/// What a timer leaves of a transaction.
enum Fate {
    Lives,
    Over,
    TimedOut,
}

/// The one deadline of a transaction, and the earliest entry for it in the slot's queue.
#[derive(Debug, Default)]
struct Timer {
    due: Option<Instant>,
    armed: Option<Instant>,
}

impl Timer {
    fn set(&mut self, due: Instant) {
        self.due = Some(due);
    }

    fn stop(&mut self) {
        self.due = None;
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// The entry to add to the queue, if none there is early enough.
    fn arm(&mut self) -> Option<Instant> {
        let due = self.due?;
        if self.armed.is_some_and(|armed| armed <= due) {
            return None;
        }
        self.armed = Some(due);
        Some(due)
    }

    /// The queue's entry has come up.
    fn disarm(&mut self, now: Instant) {
        if self.armed.is_some_and(|armed| armed <= now) {
            self.armed = None;
        }
    }
}

/// Keys are random or keyed hashes already, so their own bits serve.
#[derive(Clone, Debug, Default)]
struct Keyed;

impl std::hash::BuildHasher for Keyed {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold(0)
    }
}

#[derive(Debug)]
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// A keyed hash over length-separated parts.
struct Hash(DefaultHasher);

impl Hash {
    fn new(seed: u64) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        Self(hasher)
    }

    fn part(&mut self, text: &str) {
        self.0.write_usize(text.len());
        self.0.write(text.as_bytes());
    }

    fn part_without_case(&mut self, text: &str) {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.part(&text.to_ascii_lowercase());
        } else {
            self.part(text);
        }
    }
}

/// Gives room back that a rush has taken. An eighth is left, so that it is not taken anew at once.
fn give_back<K: Eq + StdHash, V>(table: &mut HashMap<K, V, Keyed>) {
    if table.capacity() > LEAST_ROOM && table.len() * 8 < table.capacity() {
        table.shrink_to(table.len() * 2);
    }
}

/// Transactions of a slot for which there is always room.
const LEAST_ROOM: usize = 32;

#[cfg(test)]
mod tests;
