//! From the phones to the server and back.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sip::{ConnectionId, Flow, Message, Protocol, StatusCode};

use super::clock::Happening;
use super::place::{is_server, source};
use super::{Fate, PhoneId, Place, Seat, World};
use crate::network::{Fortune, Packet};

impl World {
    pub(super) fn arrive(&mut self, packet: &Packet) {
        if is_server(packet.to.ip()) {
            self.arrive_at_server(packet);
        } else if let Some(phone) = self.receiver(packet) {
            let Ok(message) = Message::parse(&packet.bytes) else {
                return;
            };
            let mut flow = packet.flow();
            // Behind a translator a phone sees its own address.
            if self.seats[phone.0].place == Place::Nat {
                flow.local = self.seats[phone.0].phone.contact_address();
            }
            self.seats[phone.0].phone.receive(self.now, flow, &message);
            self.drain_phone(phone);
        }
    }

    pub(super) fn arrive_at_server(&mut self, packet: &Packet) {
        if self.down_until.is_some() {
            return;
        }
        let Ok(message) = Message::parse(&packet.bytes) else {
            return;
        };
        if let Err(fault) = message.check() {
            self.refuse(packet, &message, fault.status());
            return;
        }
        self.judge.received(self.now, &message);
        self.server.receive(self.now, packet.flow(), &message);
        self.drain_server();
    }

    /// What is malformed is refused before a machine sees it, as the engine does.
    fn refuse(&mut self, packet: &Packet, message: &Message<'_>, status: StatusCode) {
        let mut bytes = Vec::new();
        let refused = engine::refuse(&mut bytes, message, packet.flow(), status);
        if let Some(flow) = refused {
            self.send_from_server(flow, bytes.into());
        }
    }

    /// The living phone that a packet is for.
    pub(super) fn receiver(&self, packet: &Packet) -> Option<PhoneId> {
        let phone = match packet.connection {
            Some(connection) => self.connections.get(&connection)?.0,
            None => PhoneId(
                self.seats
                    .iter()
                    .position(|seat| seat.source == packet.to)?,
            ),
        };
        self.is_alive(phone).then_some(phone)
    }

    pub(super) fn drain_phone(&mut self, phone: PhoneId) {
        for (flow, bytes) in self.seats[phone.0].phone.take_sent() {
            let seat = &self.seats[phone.0];
            let connection = match flow.protocol {
                Protocol::Udp => None,
                _ => flow
                    .connection
                    .filter(|id| self.connections.contains_key(id))
                    .or(seat.connection),
            };
            let from = match connection.and_then(|id| self.connections.get(&id)) {
                Some((_, remote)) => *remote,
                None => seat.source,
            };
            let packet = Packet {
                protocol: flow.protocol,
                from,
                to: flow.remote,
                connection,
                bytes: bytes.into(),
            };
            self.put(self.cut.contains(&phone), &packet);
        }
        for complaint in self.seats[phone.0].phone.take_complaints() {
            if !self.judge.tampered {
                self.fault(complaint);
            }
        }
    }

    pub(super) fn drain_server(&mut self) {
        loop {
            let Some(sent) = self.server.commit(self.now, &mut self.dice) else {
                self.crash(Duration::from_secs(2));
                return;
            };
            let asked = self.server.take_asked();
            self.look_up(asked);
            let (inside, outside): (Vec<_>, Vec<_>) = sent
                .into_iter()
                .partition(|(flow, _)| flow.protocol == Protocol::Local);
            for (flow, bytes) in outside {
                self.judge
                    .sends(self.now, flow.remote, &bytes, &self.server.media);
                self.send_from_server(flow, bytes.into());
            }
            if inside.is_empty() {
                return;
            }
            for (flow, bytes) in inside {
                self.arrive_inside(flow.reversed(), &bytes);
            }
        }
    }

    /// From one machine of the server to another: no network is between them.
    fn arrive_inside(&mut self, flow: Flow, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else {
            return self.fault("the server sends itself what is not SIP".to_owned());
        };
        let line = message.bytes().split(|&byte| byte == b'\r').next();
        let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
        self.tap.note(self.now, format!("inside: {line}"));
        if message.check().is_err() {
            return self.fault(format!("the server sends itself nonsense: {line}"));
        }
        self.server.receive(self.now, flow, &message);
    }

    pub(super) fn send_from_server(&mut self, flow: Flow, bytes: Rc<[u8]>) {
        let connection = match flow.protocol {
            Protocol::Udp => None,
            _ => match self.connection_to(&flow) {
                Some(connection) => Some(connection),
                None => {
                    self.plan(Duration::from_millis(20), Happening::Unreachable(flow));
                    return;
                }
            },
        };
        let packet = Packet {
            protocol: flow.protocol,
            from: flow.local,
            to: flow.remote,
            connection,
            bytes,
        };
        let phone = self.seats.iter().position(|seat| match connection {
            Some(_) => false,
            None => seat.source == flow.remote,
        });
        let cut = phone.is_some_and(|phone| self.cut.contains(&PhoneId(phone)));
        if phone.is_some_and(|phone| self.seats[phone].fate == Fate::Refusing) {
            self.plan(Duration::from_millis(20), Happening::Unreachable(flow));
        }
        self.put(cut, &packet);
    }

    /// The connection of a flow if it is open, else another one to the same address, else a new one.
    pub(super) fn connection_to(&mut self, flow: &Flow) -> Option<ConnectionId> {
        if let Some(known) = flow
            .connection
            .filter(|id| self.connections.contains_key(id))
        {
            return Some(known);
        }
        let open = self
            .connections
            .iter()
            .filter(|(_, (_, remote))| *remote == flow.remote)
            .map(|(id, _)| *id)
            .min();
        if open.is_some() {
            return open;
        }
        let phone = self.seats.iter().position(|seat| {
            seat.fate == Fate::Lives
                && seat.place.accepts()
                && seat.phone.contact_address() == flow.remote
        })?;
        Some(self.open(PhoneId(phone), flow.remote))
    }

    pub(super) fn open(&mut self, phone: PhoneId, remote: SocketAddr) -> ConnectionId {
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        self.connections.insert(id, (phone, remote));
        id
    }

    /// Gives a TCP phone a connection of its own to the server.
    pub(super) fn connect(&mut self, phone: PhoneId, seat: &mut Seat) {
        if seat.place.protocol().is_reliable() {
            seat.source = source(seat.place, seat.number, self.next_connection as u16 + 1);
            let id = self.open(phone, seat.source);
            seat.connection = Some(id);
            seat.phone.server().connection = Some(id);
        }
    }

    pub(super) fn put(&mut self, cut: bool, packet: &Packet) {
        let by_server = is_server(packet.from.ip());
        let fortune = if cut {
            Fortune::Lost
        } else {
            self.network.send(self.now, &mut self.dice, packet.clone())
        };
        self.tap.sent(self.now, by_server, packet, fortune);
    }
}
