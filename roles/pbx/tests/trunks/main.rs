//! Trunks from the provider's side: what the machine sends it, and when.
#![allow(clippy::unwrap_used)]

mod media_policies;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use base::{Clock, Mint};
use engine::{Input, Machine as _, Out};
use pbx::config::{CallConfig, Redirects, RegistrarConfig};
use pbx::trunk::config::{Proxy, Register};
use pbx::trunk::state::{Reach, Registered};
use pbx::{
    Command, Config, DialPlan, Event, Extension, Network, Pbx, Services, Step, TrunkSettings,
    Trunks,
};
use sip::digest::{Account, Credentials};
use sip::locate::Server;
use sip::{Flow, HeaderName, Message, Method, Protocol, TlsPeer};
use store::{Bindings, Guesses, Lines, Mailboxes, Publications, Watchers};

/// One machine and the wires to its providers.
struct House {
    pbx: Pbx,
    config: Config,
    now: Instant,
    out: Out<Event>,
}

/// A message that has left, and when.
struct Sent {
    at: Instant,
    flow: Flow,
    text: String,
}

impl Sent {
    fn message(&self) -> Message<'_> {
        Message::parse(self.text.as_bytes()).unwrap()
    }

    fn header(&self, name: HeaderName) -> &str {
        self.message().header(name).unwrap_or("")
    }

    fn is(&self, method: Method<'_>) -> bool {
        self.message().method() == Some(method)
    }
}

impl House {
    fn new(change: impl FnOnce(&mut TrunkSettings)) -> Self {
        Self::with(vec![trunk(change)])
    }

    fn with(trunks: Vec<TrunkSettings>) -> Self {
        let now = Instant::now();
        let config = config(trunks);
        let slot = config.trunks.named("provider").unwrap().slot();
        let clock = Clock::new(now, Duration::from_secs(1_800_000_000));
        let shared = Arc::new(config.clone());
        Self {
            pbx: Pbx::new(Mint::new(slot, [3; 32]), clock, now, shared, services()),
            config,
            now,
            out: Out::new(),
        }
    }

    /// Lets the machine work until it waits for later than this, and takes what it sends.
    fn wait(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = self.take();
        while let Some(due) = self.pbx.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.pbx.handle(self.now, Input::Timer, &mut self.out);
            sent.extend(self.take());
        }
        self.now = end;
        sent
    }

    /// Waits until something is sent, at most so long.
    fn next(&mut self, longest: Duration) -> Sent {
        let end = self.now + longest;
        loop {
            if let Some(sent) = self.take().into_iter().next() {
                return sent;
            }
            self.now = self.now.max(self.pbx.deadline().unwrap());
            assert!(self.now <= end, "nothing was sent");
            self.pbx.handle(self.now, Input::Timer, &mut self.out);
        }
    }

    fn take(&mut self) -> Vec<Sent> {
        let at = self.now;
        let sent = self.out.send.iter().map(|send| Sent {
            at,
            flow: send.flow,
            text: String::from_utf8(self.out.bytes[send.range.clone()].to_vec()).unwrap(),
        });
        let sent = sent.collect();
        let wanted = self.out.media.iter().filter_map(|command| match command {
            media::Command::Allocate { session, .. } => Some(*session),
            _ => None,
        });
        let wanted: Vec<_> = wanted.collect();
        self.out.clear();
        for session in wanted {
            let streams = vec![media::StreamPorts {
                rtp: [40000, 40002],
                rtcp: [40001, 40003],
            }];
            let ports = Input::Media(media::Event::Allocated { session, streams });
            self.pbx.handle(self.now, ports, &mut self.out);
        }
        sent
    }

    /// What has been sent by now, with all that follows at once.
    fn settle(&mut self) -> Vec<Sent> {
        let mut sent = self.take();
        loop {
            let more = self.take();
            if more.is_empty() {
                return sent;
            }
            sent.extend(more);
        }
    }

    /// The one request that has just been sent.
    fn request(&mut self) -> Sent {
        let mut sent = self.wait(Duration::ZERO);
        assert_eq!(sent.len(), 1);
        sent.remove(0)
    }

    fn receive(&mut self, flow: Flow, text: &str) {
        let message = Message::parse(text.as_bytes()).unwrap();
        let message = Input::Message {
            flow,
            message: &message,
        };
        self.pbx.handle(self.now, message, &mut self.out);
    }

    /// The provider answers a request; `lines` are header fields, each with its end.
    fn answer(&mut self, request: &Sent, status: &str, lines: &str) {
        let copy = |name: &str| {
            let line = request.text.lines().find(|line| line.starts_with(name));
            format!("{}\r\n", line.unwrap())
        };
        let copied: String = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"]
            .map(copy)
            .concat();
        let text = format!("SIP/2.0 {status}\r\n{copied}{lines}Content-Length: 0\r\n\r\n");
        self.receive(request.flow, &text);
    }

    /// The other side answers an INVITE with this description.
    fn accept(&mut self, request: &Sent, sdp: &str) {
        let copy = |name: &str| {
            let line = request.text.lines().find(|line| line.starts_with(name));
            format!("{}\r\n", line.unwrap())
        };
        let copied: String = ["Via:", "From:", "Call-ID:", "CSeq:"].map(copy).concat();
        let to = copy("To:").replace("\r\n", ";tag=other\r\n");
        let length = sdp.len();
        let text = format!(
            "SIP/2.0 200 OK\r\n{copied}{to}Contact: <sip:203.0.113.1>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}"
        );
        self.receive(request.flow, &text);
    }

    /// Registers for so many seconds, without a challenge.
    fn register(&mut self, seconds: u32) -> Sent {
        let request = self.request();
        self.answer(&request, "200 OK", &format!("Expires: {seconds}\r\n"));
        request
    }

    fn registration(&self) -> Registered {
        self.config
            .trunks
            .named("provider")
            .unwrap()
            .state
            .view()
            .registration
    }

    fn error(&self) -> Option<String> {
        let view = self.config.trunks.named("provider").unwrap().state.view();
        view.error.as_deref().map(str::to_owned)
    }

    fn command(&mut self, command: Command) {
        self.pbx
            .handle(self.now, Input::Command(command), &mut self.out);
    }
}

fn trunk(change: impl FnOnce(&mut TrunkSettings)) -> TrunkSettings {
    let proxies = vec![proxy("198.51.100.1", 0)];
    let mut trunk = TrunkSettings::new("provider", "provider.example", proxies);
    trunk.user = "line".into();
    trunk.account = Some(Account {
        user: "line".into(),
        password: "secret".into(),
    });
    trunk.register = Some(Register::default());
    trunk.qualify = Duration::ZERO;
    trunk.keep_alive = Duration::ZERO;
    change(&mut trunk);
    trunk
}

fn proxy(host: &str, priority: u16) -> Proxy {
    Proxy {
        server: Server::named(host),
        priority,
        weight: 0,
    }
}

fn config(trunks: Vec<TrunkSettings>) -> Config {
    let extension = |number: &str, step: Step, from: &[&str]| Extension {
        number: number.to_owned(),
        steps: vec![step],
        from: from.iter().map(|&name| name.to_owned()).collect(),
        ..Extension::default()
    };
    let out = Step::Trunk {
        trunks: vec!["provider".to_owned()],
        number: "{number}".to_owned(),
    };
    let on = Step::Trunk {
        trunks: vec!["next".to_owned(), "last".to_owned()],
        number: "{number}".to_owned(),
    };
    Config {
        realm: "test".into(),
        algorithms: vec![pbx::config::Algorithm::Md5],
        nonce_lifetime: Duration::from_secs(300),
        guesses: 20,
        nonce_secret: [7; 32],
        route_secret: [8; 32],
        users: HashMap::new(),
        numbers: HashMap::new(),
        dialplan: DialPlan {
            extensions: vec![
                Extension {
                    transit: true,
                    ..extension("07.", on, &[])
                },
                extension("600", Step::Hangup(486), &["provider"]),
                extension("0.", out, &[]),
            ],
        },
        trunks: Trunks::new(trunks, &Trunks::default()),
        network: Network::default(),
        registrar: RegistrarConfig {
            min_expires: Duration::from_secs(60),
            default_expires: Duration::from_secs(600),
            max_expires: Duration::from_secs(900),
            qualify: Duration::ZERO,
        },
        calls: CallConfig {
            music: false,
            ring_timeout: Duration::from_secs(40),
            session_expires: Duration::from_secs(1800),
            min_session_expires: Duration::from_secs(90),
            max_duration: Duration::ZERO,
            redirects: Redirects::default(),
            max_calls: 100,
        },
        server: "".into(),
    }
}

fn services() -> Services {
    Services {
        bindings: Arc::new(Bindings::new()),
        lines: Arc::new(Lines::new()),
        mailboxes: Arc::new(Mailboxes::in_memory()),
        messages: Arc::new(store::Messages::in_memory()),
        publications: Arc::new(Publications::new()),
        watchers: Arc::new(Watchers::new()),
        orbits: Arc::default(),
        rooms: Arc::default(),
        guesses: Arc::new(Guesses::new()),
        calls: Arc::new(AtomicUsize::new(0)),
        registrations_open: Arc::new(|| true),
        calls_open: Arc::new(|| true),
        way_out: Arc::new(|_, _| "192.0.2.1:5060".parse().ok()),
        fingerprints: Arc::new(LazyLock::new(Box::new(|| None))),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"p\", nonce=\"n\", qop=\"auth\"\r\n";

#[test]
fn rfc3261_10_2_a_registration_is_made_proved_and_refreshed() {
    let mut house = House::new(|_| {});
    let first = house.request();
    assert!(first.is(Method::Register));
    assert_eq!(first.message().request_uri(), "sip:provider.example");
    assert_eq!(first.header(HeaderName::To), "<sip:line@provider.example>");
    assert_eq!(first.header(HeaderName::Expires), "600");
    house.answer(&first, "401 Unauthorized", CHALLENGE);
    let proved = house.request();
    assert_eq!(
        proved.header(HeaderName::CallId),
        first.header(HeaderName::CallId)
    );
    assert_eq!(proved.header(HeaderName::CSeq), "2 REGISTER");
    let credentials = Credentials::parse(proved.header(HeaderName::Authorization)).unwrap();
    assert!(credentials.verify("line", "p", "secret", Method::Register, b""));
    let contact = proved.header(HeaderName::Contact).to_owned();
    assert_eq!(house.registration(), Registered::Trying);
    house.answer(
        &proved,
        "200 OK",
        &format!("Contact: {contact};expires=100\r\n"),
    );
    assert_eq!(
        house.registration(),
        Registered::Until(base::UnixTime(1_800_000_100))
    );
    // Not too early, not too late, and with the nonce of before.
    assert!(house.wait(seconds(75)).is_empty());
    let refresh = house.wait(seconds(15)).remove(0);
    assert_eq!(refresh.header(HeaderName::CSeq), "3 REGISTER");
    assert_eq!(refresh.header(HeaderName::Contact), contact);
    assert!(
        refresh
            .header(HeaderName::Authorization)
            .contains("nc=00000002")
    );
}

#[test]
fn rfc3261_10_2_4_a_registration_that_is_not_refreshed_is_over() {
    let mut house = House::new(|_| {});
    house.register(60);
    house.wait(seconds(62));
    assert_eq!(house.registration(), Registered::Trying);
}

#[test]
fn rfc3261_10_2_8_a_registration_that_was_too_brief_becomes_longer() {
    let mut house = House::new(|_| {});
    let first = house.request();
    house.answer(&first, "423 Interval Too Brief", "Min-Expires: 1200\r\n");
    assert_eq!(house.request().header(HeaderName::Expires), "1200");
}

#[test]
fn rfc3261_22_2_a_wrong_password_is_not_tried_all_day() {
    let mut house = House::new(|_| {});
    let first = house.request();
    house.answer(&first, "401 Unauthorized", CHALLENGE);
    let second = house.request();
    house.answer(&second, "401 Unauthorized", CHALLENGE);
    assert!(house.error().unwrap().contains("user and password"));
    assert!(house.wait(seconds(299)).is_empty());
    assert_eq!(
        house
            .wait(seconds(301))
            .first()
            .map(|s| s.is(Method::Register)),
        Some(true)
    );
}

#[test]
fn rfc5626_4_5_failures_are_followed_by_longer_and_longer_waits() {
    let mut house = House::new(|_| {});
    let mut request = house.request();
    for longest in [10, 20, 40, 80, 160, 320, 600, 600] {
        let failed = house.now;
        house.answer(&request, "500 Server Internal Error", "");
        request = house.next(seconds(longest));
        let waited = request.at - failed;
        assert!(waited >= seconds(longest) / 2, "{waited:?} of {longest} s");
    }
    house.answer(&request, "200 OK", "Expires: 600\r\n");
    assert_eq!(house.error(), None);
}

#[test]
fn rfc3261_20_33_a_registrar_is_left_alone_for_as_long_as_it_asks() {
    let mut house = House::new(|_| {});
    let first = house.request();
    house.answer(
        &first,
        "503 Service Unavailable",
        "Retry-After: 120 (later);duration=9\r\n",
    );
    let again = house.next(seconds(180));
    assert!(again.at - first.at >= seconds(120));
}

#[test]
fn rfc3608_6_1_the_service_route_is_kept() {
    let mut house = House::new(|_| {});
    let request = house.request();
    let lines = "Expires: 60\r\nService-Route: <sip:a.example;lr>, <sip:b.example;lr>\r\n";
    house.answer(&request, "200 OK", lines);
    let view = house.config.trunks.named("provider").unwrap().state.view();
    let expected: [Box<str>; 2] = ["<sip:a.example;lr>".into(), "<sip:b.example;lr>".into()];
    assert_eq!(view.service_route, expected);
}

#[test]
fn rfc3263_4_3_the_next_server_is_tried_at_once() {
    let two = |trunk: &mut TrunkSettings| {
        trunk.proxies = vec![proxy("198.51.100.2", 1), proxy("198.51.100.1", 0)];
    };
    let to = |sent: &Sent| sent.flow.remote.to_string();
    let mut house = House::new(two);
    let first = house.request();
    assert_eq!(to(&first), "198.51.100.1:5060");
    house.answer(&first, "503 Service Unavailable", "");
    assert_eq!(to(&house.request()), "198.51.100.2:5060");
    // One that says nothing is passed over as well.
    let mut house = House::new(two);
    let sent = house.wait(seconds(6));
    let last = sent.last().unwrap();
    assert_eq!(to(last), "198.51.100.2:5060");
    assert!(sent.iter().filter(|sent| to(sent) != to(last)).count() > 1);
}

#[test]
fn a_provider_hears_that_the_server_stops() {
    let mut house = House::new(|_| {});
    house.register(600);
    house.command(Command::HangupAll);
    let last = house.request();
    assert!(last.is(Method::Register));
    assert_eq!(last.header(HeaderName::Expires), "0");
    house.answer(&last, "200 OK", "");
    assert!(house.wait(seconds(3600)).is_empty());
    assert_eq!(house.pbx.load().transactions, 0);
}

#[test]
fn a_reload_registers_anew_only_what_has_changed() {
    let mut house = House::new(|_| {});
    let contact = house.register(600).header(HeaderName::Contact).to_owned();
    let reload = |house: &mut House, change: fn(&mut TrunkSettings)| {
        let trunks = Trunks::new(vec![trunk(change)], &house.config.trunks);
        house.config.trunks = trunks;
        house.command(Command::Reload(Arc::new(house.config.clone())));
        house.wait(Duration::ZERO)
    };
    assert!(reload(&mut house, |trunk| trunk.max_channels = 3).is_empty());
    let sent = reload(&mut house, |trunk| trunk.user = "other".into());
    let [left, joined] = &sent[..] else {
        panic!("{} messages", sent.len());
    };
    assert_eq!(left.header(HeaderName::Expires), "0");
    assert_eq!(left.header(HeaderName::Contact), contact);
    assert!(joined.header(HeaderName::To).contains("sip:other@"));
}

#[test]
fn rfc3261_11_servers_are_asked_whether_they_are_there() {
    let mut house = House::new(|trunk| {
        trunk.register = None;
        trunk.qualify = seconds(30);
    });
    let reach = |house: &House| {
        let view = house.config.trunks.named("provider").unwrap().state.view();
        view.ways[0].health.reach()
    };
    let first = house.request();
    assert!(first.is(Method::Options));
    house.now += Duration::from_millis(20);
    house.answer(&first, "405 Method Not Allowed", "");
    let rtt = Duration::from_millis(20);
    assert_eq!(reach(&house), Reach::Up { rtt });
    // 30 seconds to the next question, 32 until it counts as lost.
    house.wait(seconds(63));
    assert_eq!(reach(&house), Reach::Down);
}

#[test]
fn rfc5626_4_4_1_the_way_is_kept_open() {
    let mut house = House::new(|trunk| trunk.keep_alive = seconds(25));
    house.register(600);
    let sent = house.wait(seconds(60));
    let times: Vec<&str> = sent.iter().map(|sent| &*sent.text).collect();
    assert_eq!(times, ["\r\n\r\n"; 2]);
}

fn invite(number: &str, from: &str) -> (Flow, String) {
    let remote: SocketAddr = from.parse().unwrap();
    let flow = Flow {
        protocol: Protocol::Udp,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote,
        connection: None,
        tls: TlsPeer::ANY,
    };
    let text = format!(
        "INVITE sip:{number}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:0301111@x>;tag=a\r\nTo: <sip:{number}@x>\r\nCall-ID: c{number}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:x@{from}>\r\nContent-Length: 0\r\n\r\n"
    );
    (flow, text)
}

/// The status of the final answer to an INVITE from this address.
fn answer_to(house: &mut House, number: &str, from: &str) -> u16 {
    let (flow, text) = invite(number, from);
    house.receive(flow, &text);
    let sent = house.wait(Duration::ZERO);
    let statuses = sent.iter().filter_map(|sent| sent.message().status());
    statuses
        .map(|status| status.0)
        .find(|status| *status >= 200)
        .unwrap()
}

#[test]
fn a_call_is_let_in_by_where_it_comes_from() {
    let mut house = House::new(|trunk| {
        trunk.sources = vec![("203.0.113.0".parse().unwrap(), 24)];
    });
    house.register(600);
    assert_eq!(answer_to(&mut house, "600", "198.51.100.1:5060"), 486);
    assert_eq!(answer_to(&mut house, "600", "203.0.113.9:6000"), 486);
    // Another port of the server's address is somebody else, perhaps behind the same router.
    assert_eq!(answer_to(&mut house, "600", "198.51.100.1:6000"), 401);
    assert_eq!(answer_to(&mut house, "600", "192.0.2.77:5060"), 401);
}

#[test]
fn who_calls_from_outside_does_not_get_out_again() {
    let mut house = House::new(|_| {});
    house.register(600);
    assert_eq!(
        answer_to(&mut house, "0900123456", "198.51.100.1:5060"),
        403
    );
}

#[test]
fn a_call_to_our_line_is_for_the_number_in_to() {
    let mut house = House::new(|trunk| trunk.numbers.did = vec![("4711".into(), "600".into())]);
    let contact = house.register(600).header(HeaderName::Contact).to_owned();
    let uri = contact.trim_matches(['<', '>']);
    let (flow, text) = invite("4711", "198.51.100.1:9999");
    let text = text.replacen("sip:4711@192.0.2.1", uri, 1);
    house.receive(flow, &text);
    let sent = house.wait(Duration::ZERO);
    assert!(sent.iter().any(|sent| sent.text.starts_with("SIP/2.0 486")));
}

#[test]
fn channels_hold_for_calls_that_come_in_too() {
    let mut house = House::new(|trunk| trunk.max_channels = 0);
    house.register(600);
    assert_eq!(answer_to(&mut house, "600", "198.51.100.1:5060"), 503);
}

/// A house with two more trunks, through which a call to 07… from the provider may leave.
fn transit(change: impl FnOnce(&mut TrunkSettings)) -> House {
    let other = |name: &str, hosts: &[&str]| {
        let places = hosts.iter().enumerate();
        let proxies = places.map(|(place, host)| proxy(host, place as u16));
        let mut trunk = trunk(|_| {});
        trunk.name = name.into();
        trunk.domain = name.into();
        trunk.proxies = proxies.collect();
        trunk.register = None;
        trunk
    };
    let mut next = other("next", &["203.0.113.1", "203.0.113.2"]);
    change(&mut next);
    let last = other("last", &["203.0.113.3"]);
    let house = House::with(vec![trunk(|_| {}), next, last]);
    // Their ways are found by the slots that look after them, which are not played here.
    for trunk in house.config.trunks.iter().skip(1) {
        let mut keeper = House::with_mint(&house.config, trunk.slot());
        keeper.wait(Duration::ZERO);
    }
    house
}

impl House {
    /// The machine of another slot with the same configuration.
    fn with_mint(config: &Config, slot: base::Slot) -> Self {
        let now = Instant::now();
        let clock = Clock::new(now, Duration::from_secs(1_800_000_000));
        let shared = Arc::new(config.clone());
        Self {
            pbx: Pbx::new(Mint::new(slot, [4; 32]), clock, now, shared, services()),
            config: config.clone(),
            now,
            out: Out::new(),
        }
    }

    /// The provider calls this number; the INVITE that leaves.
    fn passes_on(&mut self, number: &str) -> Sent {
        let (flow, text) = invite(number, "198.51.100.1:5060");
        let sdp = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
                   m=audio 4000 RTP/AVP 0 8\r\n";
        let head = text.replace("Content-Length: 0\r\n\r\n", "");
        let length = sdp.len();
        let text =
            format!("{head}Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}");
        self.receive(flow, &text);
        self.invite()
    }

    /// The INVITE that leaves now.
    fn invite(&mut self) -> Sent {
        let mut sent = self.settle().into_iter();
        let invite = sent.find(|sent| sent.is(Method::Invite));
        invite.expect("an INVITE leaves")
    }

    /// What the caller hears last.
    fn told(&mut self) -> Option<u16> {
        let sent = self.settle();
        let mut statuses = sent.iter().filter_map(|sent| sent.message().status());
        statuses.next_back().map(|status| status.0)
    }
}

fn host(sent: &Sent) -> String {
    sent.flow.remote.ip().to_string()
}

#[test]
fn rfc3263_4_3_a_call_takes_the_next_way_and_then_the_next_trunk() {
    let mut house = transit(|_| {});
    house.register(600);
    let first = house.passes_on("0711");
    assert_eq!(host(&first), "203.0.113.1");
    house.answer(&first, "503 Service Unavailable", "Retry-After: 30\r\n");
    let second = house.invite();
    assert_eq!(host(&second), "203.0.113.2");
    house.answer(&second, "500 Server Internal Error", "");
    let third = house.invite();
    assert_eq!(host(&third), "203.0.113.3");
    assert_eq!(third.message().request_uri(), "sip:0711@last");
    house.answer(&third, "502 Bad Gateway", "");
    assert_eq!(house.told(), Some(502));
    // The one that asked for it is left alone; the next call begins with the second.
    assert_eq!(host(&house.passes_on("0712")), "203.0.113.2");
}

#[test]
fn rfc3261_16_7_what_is_about_the_callee_ends_the_search() {
    for status in ["486 Busy Here", "404 Not Found", "603 Decline"] {
        let mut house = transit(|_| {});
        house.register(600);
        let first = house.passes_on("0711");
        house.answer(&first, status, "");
        let told = house.told().map(|told| told.to_string());
        assert_eq!(told.as_deref(), status.split(' ').next());
    }
}

#[test]
fn a_server_that_says_nothing_is_passed_over_but_one_that_rings_is_not() {
    let mut house = transit(|_| {});
    house.register(600);
    let first = house.passes_on("0711");
    let begun = house.now;
    let sent = loop {
        let sent = house.next(seconds(6));
        if host(&sent) != host(&first) {
            break sent;
        }
    };
    assert_eq!(
        (host(&sent).as_str(), sent.at - begun),
        ("203.0.113.2", seconds(5))
    );
    house.answer(&sent, "100 Trying", "");
    let later = house.wait(seconds(20));
    assert!(later.iter().all(|sent| host(sent) != "203.0.113.3"));
}

#[test]
fn rfc3261_22_3_an_invite_is_proved_to_a_trunk() {
    let mut house = transit(|_| {});
    house.register(600);
    let first = house.passes_on("0711");
    let challenge = "Proxy-Authenticate: Digest realm=\"p\", nonce=\"n\", qop=\"auth\"\r\n";
    house.answer(&first, "407 Proxy Authentication Required", challenge);
    let proved = house.invite();
    assert_eq!(proved.header(HeaderName::CSeq), "2 INVITE");
    assert_eq!(
        proved.header(HeaderName::CallId),
        first.header(HeaderName::CallId)
    );
    assert_eq!(host(&proved), host(&first));
    let value = proved.header(HeaderName::ProxyAuthorization);
    let credentials = Credentials::parse(value).unwrap();
    assert!(credentials.verify("line", "p", "secret", Method::Invite, b""));
    // Whom a trunk does not believe another one may.
    house.answer(&proved, "407 Proxy Authentication Required", challenge);
    assert_ne!(host(&house.invite()), host(&first));
}

#[test]
fn a_full_trunk_is_passed_over() {
    let mut house = transit(|next| next.max_channels = 1);
    house.register(600);
    let first = house.passes_on("0711");
    assert_eq!(host(&first), "203.0.113.1");
    assert_eq!(host(&house.passes_on("0712")), "203.0.113.3");
    house.answer(&first, "486 Busy Here", "");
    house.settle();
    assert_eq!(host(&house.passes_on("0713")), "203.0.113.1");
}

#[test]
fn a_trunk_gets_no_more_calls_in_a_second_than_it_may() {
    let mut house = transit(|next| next.max_rate = 2);
    house.register(600);
    let numbers = ["0711", "0712", "0713"];
    let hosts = numbers.map(|number| host(&house.passes_on(number)));
    assert_eq!(hosts, ["203.0.113.1", "203.0.113.1", "203.0.113.3"]);
    house.now += seconds(1);
    assert_eq!(host(&house.passes_on("0714")), "203.0.113.1");
}

#[test]
fn only_the_codecs_of_a_trunk_are_offered_to_it() {
    let mut house = transit(|next| next.media = pbx::sound::with_codecs(vec!["PCMA".into()]));
    house.register(600);
    let invite = house.passes_on("0711");
    assert!(invite.text.contains("RTP/AVP 8\r\n"), "{}", invite.text);
    let mut house = transit(|next| next.media = pbx::sound::with_codecs(vec!["speex".into()]));
    house.register(600);
    assert_eq!(host(&house.passes_on("0711")), "203.0.113.3");
}
