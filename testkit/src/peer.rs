//! A peer that sends whatever a test writes, and reads what comes back.

use std::net::SocketAddr;
use std::time::Duration;

use sip::digest::Challenge;
use sip::{HeaderName, Message, Method};

use crate::world::{World, password};

/// Somebody at an address of their own.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    user: String,
    call_id: String,
    requests: u32,
    seen: usize,
}

impl Peer {
    /// A peer that knows the password of `user`.
    #[must_use]
    pub fn new(user: &str) -> Self {
        Self {
            address: SocketAddr::from(([198, 51, 100, 7], 5062)),
            user: user.to_owned(),
            call_id: "peer-1".to_owned(),
            requests: 0,
            seen: 0,
        }
    }

    /// A peer at another address, so that several don't hear each other's messages.
    #[must_use]
    pub fn at(self, address: SocketAddr) -> Self {
        let call_id = format!("peer-{address}");
        Self {
            address,
            call_id,
            ..self
        }
    }

    /// Answers a request of the server's.
    pub fn answer(&mut self, world: &mut World, request: &str, status: u16) -> Vec<String> {
        let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let lines = request
            .lines()
            .filter(|line| copied.iter().any(|name| line.starts_with(name)));
        let mut text = format!("SIP/2.0 {status} As The Test Wants\r\n");
        lines.for_each(|line| text += &format!("{line}\r\n"));
        text += "Content-Length: 0\r\n\r\n";
        self.send(world, &text)
    }

    /// Answers a request of the server's with header fields, whole lines, and a description.
    pub fn answer_with(
        &mut self,
        world: &mut World,
        request: &str,
        status: u16,
        fields: &[&str],
        body: &str,
    ) -> Vec<String> {
        let mut text = format!("SIP/2.0 {status} As The Test Wants\r\n");
        for line in request.lines().take_while(|line| !line.is_empty()) {
            let copied = ["Via:", "From:", "Call-ID:", "CSeq:"];
            if copied.iter().any(|name| line.starts_with(name)) {
                text += &format!("{line}\r\n");
            } else if line.starts_with("To:") {
                let tag = if line.contains(";tag=") {
                    ""
                } else {
                    ";tag=peer"
                };
                text += &format!("{line}{tag}\r\n");
            }
        }
        text += &format!("Contact: <sip:{}@{}>\r\n", self.user, self.address);
        for line in fields {
            text += &format!("{line}\r\n");
        }
        if !body.is_empty() {
            text += "Content-Type: application/sdp\r\n";
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.send(world, &text)
    }

    /// Begins another call: a new Call-ID.
    pub fn begin(&mut self) {
        self.call_id = format!("peer-{}", self.requests + 1000);
    }

    /// Sends a request and returns what the server has answered within 100 ms. `fields` are whole
    /// lines; Via, From, To, Call-ID and CSeq are there already unless they are among them.
    pub fn ask(
        &mut self,
        world: &mut World,
        method: &str,
        uri: &str,
        fields: &[&str],
        body: &str,
    ) -> Vec<String> {
        self.requests += 1;
        let text = self.request(method, uri, fields, body);
        self.send(world, &text)
    }

    /// Like [`ask`](Self::ask), but answers the challenge first.
    pub fn ask_as_user(
        &mut self,
        world: &mut World,
        method: &str,
        uri: &str,
        fields: &[&str],
        body: &str,
    ) -> Vec<String> {
        let challenge = self.ask(world, method, uri, fields, "");
        let authorization = challenge
            .last()
            .and_then(|answer| self.authorization(answer, method, uri));
        let Some(authorization) = authorization else {
            return challenge;
        };
        if method == "INVITE" {
            let ack = self.request("ACK", uri, &[], "");
            self.send(world, &ack);
        }
        let mut fields = fields.to_vec();
        fields.push(&authorization);
        self.ask(world, method, uri, &fields, body)
    }

    /// Sends any text and returns what has come back within 100 ms.
    pub fn send(&mut self, world: &mut World, text: &str) -> Vec<String> {
        world.inject(self.address, text.as_bytes());
        world.run(Duration::from_millis(100));
        self.heard(world)
    }

    /// What has come since the last time.
    pub fn heard(&mut self, world: &World) -> Vec<String> {
        let all = world.tap().all();
        let new = all[self.seen..]
            .iter()
            .filter(|sent| sent.by_server && sent.phone == self.address)
            .map(|sent| String::from_utf8_lossy(&sent.bytes).into_owned())
            .collect();
        self.seen = all.len();
        new
    }

    fn request(&self, method: &str, uri: &str, fields: &[&str], body: &str) -> String {
        let (address, user, number) = (self.address, &self.user, self.requests);
        let mut text = format!("{method} {uri} SIP/2.0\r\n");
        let standard = [
            format!(
                "Via: SIP/2.0/UDP {address};rport;branch=z9hG4bK{}.{number}",
                self.call_id.replace(':', ".")
            ),
            format!("From: <sip:{user}@192.0.2.1>;tag=peer"),
            format!("To: <{uri}>"),
            format!("Call-ID: {}", self.call_id),
            format!("CSeq: {number} {method}"),
            "Max-Forwards: 70".to_owned(),
            format!("Contact: <sip:{user}@{address}>"),
        ];
        for line in &standard {
            let name = line.split_once(':').map_or("", |(name, _)| name);
            if !fields.iter().any(|field| field.starts_with(name)) {
                text += &format!("{line}\r\n");
            }
        }
        for line in fields.iter().filter(|line| !line.ends_with(": -")) {
            text += &format!("{line}\r\n");
        }
        let typed = fields.iter().any(|field| field.starts_with("Content-Type"));
        if !body.is_empty() && !typed {
            text += "Content-Type: application/sdp\r\n";
        }
        text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
    }

    /// The line of Authorization that answers the challenge in the last of these answers.
    #[must_use]
    pub fn prove(&self, answers: &[String], method: &str, uri: &str) -> Option<String> {
        self.authorization(answers.last()?, method, uri)
    }

    fn authorization(&self, answer: &str, method: &str, uri: &str) -> Option<String> {
        let answer = Message::parse(answer.as_bytes()).ok()?;
        let challenge = Challenge::parse(answer.header(HeaderName::WwwAuthenticate)?).ok()?;
        let (method, password) = (Method::parse(method), password(&self.user));
        let response = challenge.respond(&self.user, &password, method, uri, b"", 1, "cnonce");
        Some(format!("Authorization: {response}"))
    }
}

/// A plain offer of one audio stream.
pub const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\n\
    t=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
