use std::collections::HashMap;

use super::*;

/// Records by name; addresses without dots in the name.
#[derive(Default)]
struct Zone {
    naptr: HashMap<&'static str, Vec<Naptr>>,
    srv: HashMap<&'static str, Vec<Srv>>,
    addresses: HashMap<&'static str, Vec<IpAddr>>,
    /// What was looked up.
    asked: Vec<String>,
}

impl Zone {
    fn naptr(mut self, name: &'static str, records: &[(u16, u16, &str, &str)]) -> Self {
        let records = records
            .iter()
            .map(|(order, preference, services, name)| Naptr {
                order: *order,
                preference: *preference,
                flags: "s".into(),
                services: (*services).into(),
                replacement: (*name).into(),
            });
        self.naptr.insert(name, records.collect());
        self
    }

    fn srv(mut self, name: &'static str, records: &[(u16, u16, u16, &str)]) -> Self {
        let records = records.iter().map(|record| srv(*record));
        self.srv.insert(name, records.collect());
        self
    }

    fn host(mut self, name: &'static str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        self.addresses.insert(name, addresses.collect());
        self
    }

    fn answer(&mut self, lookup: &Lookup) -> Records {
        let (kind, name) = match lookup {
            Lookup::Naptr(name) => ("NAPTR", name),
            Lookup::Srv(name) => ("SRV", name),
            Lookup::Addresses(name) => ("A", name),
        };
        self.asked.push(format!("{kind} {name}"));
        let found = match lookup {
            Lookup::Naptr(name) => self.naptr.get(&**name).cloned().map(Records::Naptr),
            Lookup::Srv(name) => self.srv.get(&**name).cloned().map(Records::Srv),
            Lookup::Addresses(name) => {
                let addresses = self.addresses.get(&**name).cloned();
                addresses.map(Records::Addresses)
            }
        };
        found.unwrap_or(Records::None)
    }

    /// The ways to the server of a URI, as text.
    fn find(&mut self, uri: &str) -> Vec<String> {
        self.find_as(uri, &[Protocol::Udp, Protocol::Tcp, Protocol::Tls])
    }

    fn find_as(&mut self, uri: &str, speaks: &'static [Protocol]) -> Vec<String> {
        let server = Server::of_uri(&Uri::parse(uri).unwrap()).unwrap();
        let mut search = Search::new(server, speaks);
        loop {
            let answers = match search.stage() {
                Stage::Look(lookups) => lookups.iter().map(|lookup| self.answer(lookup)).collect(),
                Stage::Found(ways) => {
                    let text = |(protocol, address): &Way| format!("{protocol}:{address}");
                    return ways.iter().map(text).collect();
                }
            };
            search.take(answers, &mut |_| 0);
        }
    }
}

fn srv((priority, weight, port, target): (u16, u16, u16, &str)) -> Srv {
    Srv {
        priority,
        weight,
        port,
        target: target.into(),
    }
}

/// The domain of the RFC's own example, with addresses.
fn example() -> Zone {
    Zone::default()
        .naptr(
            "example.com",
            &[
                (90, 50, "SIP+D2T", "_sip._tcp.example.com"),
                (100, 50, "SIP+D2U", "_sip._udp.example.com"),
                (50, 50, "SIPS+D2T", "_sips._tcp.example.com"),
                (10, 50, "E2U+sip", "nonsense.example.com"),
            ],
        )
        .srv("_sips._tcp.example.com", &[(0, 1, 5061, "one")])
        .srv(
            "_sip._tcp.example.com",
            &[(0, 1, 5060, "one"), (1, 1, 5070, "two")],
        )
        .srv("_sip._udp.example.com", &[(0, 1, 5060, "one")])
        .host("one", &["192.0.2.1"])
        .host("two", &["192.0.2.2"])
}

#[test]
fn rfc3263_4_the_target_is_maddr_or_the_host() {
    let server = |uri| Server::of_uri(&Uri::parse(uri).unwrap());
    let by_maddr = server("sip:a@example.com:5070;maddr=192.0.2.9").unwrap();
    assert_eq!(
        by_maddr.numeric(),
        Some((Protocol::Udp, "192.0.2.9:5070".parse().unwrap()))
    );
    assert_eq!(server("tel:+4930"), None);
    assert_eq!(server("sip:example.com;transport=sctp"), None);
    let encrypted = server("sips:example.com;transport=tcp").unwrap();
    assert_eq!(encrypted.protocol, Some(Protocol::Tls));
}

#[test]
fn rfc3263_4_1_a_numeric_target_is_not_looked_up() {
    let mut zone = Zone::default();
    assert_eq!(zone.find("sip:192.0.2.7"), ["udp:192.0.2.7:5060"]);
    assert_eq!(zone.find("sips:192.0.2.7"), ["tls:192.0.2.7:5061"]);
    assert_eq!(
        zone.find("sip:[2001:db8::7]:5080;transport=tcp"),
        ["tcp:[2001:db8::7]:5080"]
    );
    assert!(zone.asked.is_empty());
}

#[test]
fn rfc3263_4_1_a_port_means_addresses_only() {
    let mut zone = example().host("example.com", &["192.0.2.8"]);
    assert_eq!(zone.find("sip:example.com:5062"), ["udp:192.0.2.8:5062"]);
    assert_eq!(zone.find("sips:example.com:5062"), ["tls:192.0.2.8:5062"]);
    assert_eq!(zone.asked, ["A example.com", "A example.com"]);
}

#[test]
fn rfc3263_4_1_a_transport_means_no_naptr() {
    let mut zone = example();
    assert_eq!(
        zone.find("sip:example.com;transport=tcp"),
        ["tcp:192.0.2.1:5060", "tcp:192.0.2.2:5070"]
    );
    assert_eq!(zone.asked, ["SRV _sip._tcp.example.com", "A one", "A two"]);
}

#[test]
fn rfc3263_4_1_naptr_chooses_the_transport_and_the_others_remain() {
    let mut zone = example();
    assert_eq!(
        zone.find("sip:a@example.com"),
        [
            "tls:192.0.2.1:5061",
            "tcp:192.0.2.1:5060",
            "tcp:192.0.2.2:5070",
            "udp:192.0.2.1:5060",
        ]
    );
    assert_eq!(
        zone.find_as("sip:example.com", &[Protocol::Udp]),
        ["udp:192.0.2.1:5060"]
    );
}

#[test]
fn rfc3263_4_1_sips_takes_encrypted_transports_only() {
    let mut zone = example();
    assert_eq!(zone.find("sips:example.com"), ["tls:192.0.2.1:5061"]);
    let mut unencrypted = Zone::default()
        .naptr("a.example", &[(1, 1, "SIP+D2U", "_sip._udp.a.example")])
        .srv("_sip._udp.a.example", &[(0, 0, 5060, "one")])
        .host("one", &["192.0.2.1"]);
    assert!(unencrypted.find("sips:a.example").is_empty());
    let contradiction = Server {
        secure: true,
        protocol: Some(Protocol::Udp),
        ..Server::named("192.0.2.1")
    };
    let search = Search::new(contradiction, &Protocol::NAMED);
    assert_eq!(search.stage(), Stage::Found(&[]));
}

#[test]
fn rfc3263_4_1_without_naptr_all_transports_are_asked_for() {
    let mut zone = Zone::default()
        .srv("_sip._tcp.b.example", &[(0, 0, 5066, "one")])
        .host("one", &["192.0.2.1"]);
    assert_eq!(zone.find("sip:b.example"), ["tcp:192.0.2.1:5066"]);
    let asked = [
        "NAPTR b.example",
        "SRV _sip._udp.b.example",
        "SRV _sip._tcp.b.example",
        "SRV _sips._tcp.b.example",
        "A one",
    ];
    assert_eq!(zone.asked, asked);
}

#[test]
fn rfc3263_4_2_without_srv_the_host_itself_is_the_server() {
    let mut zone = Zone::default().host("c.example", &["192.0.2.1"]);
    assert_eq!(zone.find("sip:c.example"), ["udp:192.0.2.1:5060"]);
    assert_eq!(zone.find("sips:c.example"), ["tls:192.0.2.1:5061"]);
    assert_eq!(
        zone.find("sip:c.example;transport=tls"),
        ["tls:192.0.2.1:5061"]
    );
    assert!(zone.find("sip:unknown.example").is_empty());
}

#[test]
fn rfc2782_a_lone_dot_says_that_there_is_no_such_service() {
    let mut zone = Zone::default()
        .srv("_sip._tcp.d.example", &[(0, 0, 0, ".")])
        .host("d.example", &["192.0.2.1"]);
    assert!(zone.find("sip:d.example;transport=tcp").is_empty());
}

#[test]
fn rfc7118_8_4_websockets_are_services_too() {
    let mut zone = Zone::default()
        .naptr(
            "e.example",
            &[
                (1, 1, "SIPS+D2W", "_sips._ws.e.example"),
                (2, 1, "sip+d2w", "_sip._ws.e.example"),
            ],
        )
        .srv("_sips._ws.e.example", &[(0, 0, 443, "one")])
        .srv("_sip._ws.e.example", &[(0, 0, 80, "one")])
        .host("one", &["192.0.2.1"]);
    assert_eq!(
        zone.find_as("sip:e.example", &Protocol::NAMED),
        ["wss:192.0.2.1:443", "ws:192.0.2.1:80"]
    );
    assert!(zone.find("sip:e.example").is_empty());
}

#[test]
fn rfc8305_4_families_take_turns() {
    let mut zone = Zone::default().host(
        "f.example",
        &["2001:db8::1", "2001:db8::2", "192.0.2.1", "2001:db8::1"],
    );
    assert_eq!(
        zone.find("sip:f.example:5060"),
        [
            "udp:[2001:db8::1]:5060",
            "udp:192.0.2.1:5060",
            "udp:[2001:db8::2]:5060"
        ]
    );
}

#[test]
fn rfc2782_priorities_come_in_order_and_weights_are_shares() {
    let records = [
        (20, 0, 1, "last"),
        (10, 60, 1, "a"),
        (10, 20, 1, "b"),
        (10, 20, 1, "c"),
        (10, 0, 1, "seldom"),
    ];
    let mut state = 1_u64;
    let mut random = |below: u32| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (((state >> 32) * u64::from(below)) >> 32) as u32
    };
    let mut first: HashMap<Box<str>, u32> = HashMap::new();
    for _ in 0..10_000 {
        let ordered = in_order(records.map(srv).to_vec(), &mut random);
        assert_eq!(ordered.len(), records.len());
        assert_eq!(&*ordered[4].target, "last");
        *first.entry(ordered[0].target.clone()).or_default() += 1;
    }
    // 60, 20, 20 and about 1 in 101; three standard deviations are below 160.
    for (target, share) in [("a", 5940), ("b", 1980), ("c", 1980), ("seldom", 99)] {
        let seen = first.get(target).copied().unwrap_or(0);
        assert!(seen.abs_diff(share) < 160, "{target}: {seen}");
    }
    assert!(first["seldom"] > 0);
}

#[test]
fn what_a_domain_may_make_us_do_is_bounded() {
    let names: Vec<String> = (0..100).map(|number| format!("host{number}")).collect();
    let records = names.iter().map(|name| srv((1, 1, 5060, name))).collect();
    let mut search = Search::new(
        Server {
            protocol: Some(Protocol::Udp),
            ..Server::named("g.example")
        },
        &Protocol::NAMED,
    );
    search.take(vec![Records::Srv(records)], &mut |below| below - 1);
    let Stage::Look(lookups) = search.stage() else {
        panic!("addresses are missing");
    };
    assert_eq!(lookups.len(), 16);
    let addresses: Vec<IpAddr> = (0..100).map(|number| [10, 0, 0, number].into()).collect();
    let answers = vec![Records::Addresses(addresses); lookups.len()];
    search.take(answers, &mut |_| 0);
    let Stage::Found(ways) = search.stage() else {
        panic!("not at the end");
    };
    assert_eq!(ways.len(), 8, "each way once");
    // Answers that nobody asked for change nothing.
    search.take(vec![Records::None; 9], &mut |_| 0);
    assert!(matches!(search.stage(), Stage::Found(ways) if ways.len() == 8));
}
