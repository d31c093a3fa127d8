//! Lookups through a real name server on this machine.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../../interop/src/dns.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the tests against real peers"
)]
mod dns;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Mint, Slot};
use dns::{Dns, Record};
use engine::{Answer, Ask, Found, Question, Server};
use resolver::{Desk, Names, Settings};
use sip::locate::{Lookup, Records};
use sip::{Protocol, Uri};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A resolver that runs, and its answers.
struct Rig {
    desk: Desk,
    answers: UnboundedReceiver<Answer>,
    mint: Mint,
}

impl Rig {
    fn new(servers: &[SocketAddr]) -> Self {
        Self::with(Settings {
            servers: servers.to_vec(),
            timeout: Duration::from_millis(200),
            limit: Duration::from_secs(2),
            ..Settings::default()
        })
    }

    fn with(settings: Settings) -> Self {
        let (sender, answers) = unbounded_channel();
        let deliver = move |answer| sender.send(answer).unwrap();
        let (desk, task) = resolver::resolver(settings, Arc::new(deliver));
        tokio::spawn(task.run());
        let mint = Mint::new(Slot::new(9), [1; 32]);
        Self {
            desk,
            answers,
            mint,
        }
    }

    fn ask(&mut self, uri: &str) {
        let server = Server::of_uri(&Uri::parse(uri).unwrap()).unwrap();
        let question = Question::Locate(server);
        let id = self.mint.token();
        self.desk.ask(&mut vec![Ask { id, question }]);
    }

    async fn next(&mut self) -> Vec<String> {
        let Found::Ways(ways) = self.answers.recv().await.unwrap().found else {
            panic!("not what was asked for");
        };
        let text = |(protocol, address): &(Protocol, SocketAddr)| format!("{protocol}:{address}");
        ways.iter().map(text).collect()
    }

    async fn find(&mut self, uri: &str) -> Vec<String> {
        self.ask(uri);
        self.next().await
    }
}

fn host(dns: &Dns, name: &str, ttl: u32, address: &str) {
    dns.add(name, ttl, Record::Address(address.parse().unwrap()));
}

/// A domain with everything, each record good for a minute.
fn example() -> Dns {
    let dns = Dns::start().unwrap();
    let naptr = |order, service, name| Record::naptr(order, 1, service, name);
    dns.add("a.test", 60, naptr(2, "SIP+D2U", "_sip._udp.a.test"));
    dns.add("a.test", 60, naptr(1, "SIP+D2T", "_sip._tcp.a.test"));
    let srv = |priority, port, name| Record::srv(priority, 1, port, name);
    dns.add("_sip._tcp.a.test", 60, srv(1, 5070, "one.a.test"));
    dns.add("_sip._tcp.a.test", 60, srv(2, 5071, "two.a.test"));
    dns.add("_sip._udp.a.test", 60, srv(1, 5072, "one.a.test"));
    host(&dns, "one.a.test", 60, "192.0.2.1");
    host(&dns, "two.a.test", 60, "192.0.2.2");
    dns
}

const EXAMPLE: [&str; 3] = [
    "tcp:192.0.2.1:5070",
    "tcp:192.0.2.2:5071",
    "udp:192.0.2.1:5072",
];

#[tokio::test]
async fn rfc3263_4_naptr_leads_to_srv_leads_to_addresses() {
    let dns = example();
    let mut rig = Rig::new(&[dns.address()]);
    assert_eq!(rig.find("sip:a.test").await, EXAMPLE);
}

#[tokio::test]
async fn answers_are_remembered_as_long_as_the_records_say() {
    let dns = example();
    host(&dns, "short.test", 1, "192.0.2.3");
    host(&dns, "never.test", 0, "192.0.2.4");
    let mut rig = Rig::new(&[dns.address()]);
    assert_eq!(rig.find("sip:a.test").await, EXAMPLE);
    assert_eq!(
        rig.find("sip:short.test:5060").await,
        ["udp:192.0.2.3:5060"]
    );
    assert_eq!(
        rig.find("sip:never.test:5060").await,
        ["udp:192.0.2.4:5060"]
    );
    assert!(dns.take_asked().len() > 8);
    assert_eq!(rig.find("sip:a.test").await, EXAMPLE);
    assert!(dns.take_asked().is_empty(), "asked again");
    rig.find("sip:never.test:5060").await;
    assert!(!dns.take_asked().is_empty(), "remembered what must not be");
    dns.remove("short.test");
    host(&dns, "short.test", 1, "192.0.2.5");
    // The record's second passes; then the new address is found.
    let begun = Instant::now();
    while rig.find("sip:short.test:5060").await != ["udp:192.0.2.5:5060"] {
        assert!(begun.elapsed() < Duration::from_secs(20), "never forgotten");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn rfc2308_5_an_absence_is_remembered_too() {
    let dns = Dns::start().unwrap();
    let mut rig = Rig::new(&[dns.address()]);
    assert!(rig.find("sip:nobody.test").await.is_empty());
    let asked = dns.take_asked();
    assert!(asked.iter().any(|asked| asked.kind == 35), "{asked:?}");
    assert!(rig.find("sip:nobody.test").await.is_empty());
    assert!(dns.take_asked().is_empty());
}

#[tokio::test]
async fn aliases_are_followed_and_both_families_are_found() {
    let dns = Dns::start().unwrap();
    dns.add("b.test", 60, Record::Alias("real.b.test".into()));
    host(&dns, "real.b.test", 60, "2001:db8::1");
    host(&dns, "real.b.test", 60, "192.0.2.1");
    host(&dns, "six.test", 60, "2001:db8::6");
    let mut rig = Rig::new(&[dns.address()]);
    assert_eq!(
        rig.find("sip:b.test:5060").await,
        ["udp:192.0.2.1:5060", "udp:[2001:db8::1]:5060"]
    );
    assert_eq!(rig.find("sips:six.test").await, ["tls:[2001:db8::6]:5061"]);
}

#[tokio::test]
async fn rfc7766_5_what_does_not_fit_into_a_datagram_comes_over_tcp() {
    let dns = example();
    dns.set_truncates(true);
    let mut rig = Rig::new(&[dns.address()]);
    assert_eq!(rig.find("sip:a.test").await, EXAMPLE);
    assert!(dns.take_asked().iter().any(|asked| asked.stream));
}

#[tokio::test]
async fn a_dead_name_server_is_passed_over() {
    let dead = Dns::start().unwrap();
    dead.set_silent(true);
    let dns = example();
    let mut rig = Rig::new(&[dead.address(), dns.address()]);
    assert_eq!(rig.find("sip:a.test").await, EXAMPLE);
}

#[tokio::test]
async fn every_question_is_answered_though_no_name_server_is() {
    let dead = Dns::start().unwrap();
    dead.set_silent(true);
    let mut rig = Rig::new(&[dead.address()]);
    let begun = Instant::now();
    for _ in 0..20 {
        rig.ask("sip:a.test");
        rig.ask("sip:b.test:5060");
    }
    for _ in 0..40 {
        assert!(rig.next().await.is_empty());
    }
    // The limit is two seconds; a busy machine may be late, but not by a multiple.
    assert!(begun.elapsed() < Duration::from_secs(10));
    dead.set_silent(false);
    host(&dead, "b.test", 60, "192.0.2.1");
    assert_eq!(rig.find("sip:b.test:5060").await, ["udp:192.0.2.1:5060"]);
}

#[tokio::test]
async fn equal_questions_are_looked_up_once() {
    let dns = example();
    let mut rig = Rig::new(&[dns.address()]);
    for _ in 0..50 {
        rig.ask("sip:a.test");
    }
    for _ in 0..50 {
        assert_eq!(rig.next().await, EXAMPLE);
    }
    let asked = dns.take_asked();
    let naptr = asked.iter().filter(|asked| asked.kind == 35).count();
    assert_eq!(naptr, 1, "{asked:?}");
}

#[tokio::test]
async fn what_there_is_no_room_for_finds_nothing_at_once() {
    let silent = Dns::start().unwrap();
    silent.set_silent(true);
    let mut rig = Rig::with(Settings {
        servers: vec![silent.address()],
        timeout: Duration::from_secs(30),
        limit: Duration::from_secs(600),
        ..Settings::default()
    });
    for number in 0..2000 {
        rig.ask(&format!("sip:host{number}.test"));
    }
    // 1024 wait, of which 256 are searched for; nobody waits for those answers.
    for _ in 0..2000 - 256 {
        assert!(rig.next().await.is_empty());
    }
}

#[tokio::test]
async fn rfc2782_load_is_spread_by_weight() {
    let dns = Dns::start().unwrap();
    let name = "_sip._udp.w.test";
    dns.add(name, 60, Record::srv(1, 90, 5060, "much.w.test"));
    dns.add(name, 60, Record::srv(1, 10, 5060, "little.w.test"));
    host(&dns, "much.w.test", 60, "192.0.2.1");
    host(&dns, "little.w.test", 60, "192.0.2.2");
    let mut rig = Rig::new(&[dns.address()]);
    let mut much = 0;
    for _ in 0..500 {
        let ways = rig.find("sip:w.test;transport=udp").await;
        assert_eq!(ways.len(), 2);
        much += usize::from(ways[0] == "udp:192.0.2.1:5060");
    }
    // 450 are expected; eight standard deviations are below 60.
    assert!((390..=499).contains(&much), "{much}");
}

#[tokio::test]
async fn names_of_the_hosts_file_are_known() {
    let dns = Dns::start().unwrap();
    let settings = Settings {
        servers: vec![dns.address()],
        ..Settings::default()
    };
    let names = Names::new(&settings).unwrap();
    let found = names.look(&Lookup::Addresses("localhost".into())).await;
    let Records::Addresses(addresses) = found else {
        panic!("localhost is unknown");
    };
    assert!(addresses.iter().all(|address| address.is_loopback()));
    let nonsense = names.look(&Lookup::Addresses("a..b".into())).await;
    assert_eq!(nonsense, Records::None);
}
