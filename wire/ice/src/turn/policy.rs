//! With whom a relay may speak.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

/// With whom relays may speak. A relay is a way into the network that the server stands in, so by default it
/// leads only to addresses of the open Internet that are not the server's own.
///
/// # Source
/// RFC 8656 §21.1.5, §21.4: firewalls are not to be walked around.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is allowed whatever else holds.
    pub allow: Vec<Rule>,
    /// What is not allowed unless a rule says so.
    pub deny: Vec<Rule>,
    /// The server's own addresses: not allowed unless a rule says so.
    pub own: Vec<IpAddr>,
}

/// Some addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// An address of the network.
    pub network: IpAddr,
    /// How many bits of it count.
    pub prefix: u8,
    /// Ports there.
    pub ports: RangeInclusive<u16>,
}

impl Policy {
    /// Whether data may go to `peer`.
    #[must_use]
    pub fn allows(&self, peer: SocketAddr) -> bool {
        let (ip, port) = (plain(peer.ip()), peer.port());
        port != 0 && self.decide(ip, |rule| rule.covers(ip) && rule.ports.contains(&port))
    }

    /// Whether there may be a permission for `ip`: some port of it is allowed.
    #[must_use]
    pub fn allows_some(&self, ip: IpAddr) -> bool {
        let ip = plain(ip);
        self.decide(ip, |rule| rule.covers(ip))
    }

    fn decide(&self, ip: IpAddr, matches: impl Fn(&Rule) -> bool) -> bool {
        self.allow.iter().any(&matches)
            || !self.deny.iter().any(|rule| rule.covers(ip))
                && !self.own.contains(&ip)
                && is_public(ip)
    }
}

impl Rule {
    fn covers(&self, ip: IpAddr) -> bool {
        match (self.network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let shift = 32_u32.saturating_sub(u32::from(self.prefix));
                let differs = u32::from(network) ^ u32::from(ip);
                differs.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let shift = 128_u32.saturating_sub(u32::from(self.prefix));
                let differs = u128::from(network) ^ u128::from(ip);
                differs.checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// The address without a wrapping of IPv6 that leads to IPv4.
fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else {
        return ip;
    };
    match v6.octets() {
        // Mapped (RFC 4291 §2.5.5.2), NAT64 (RFC 6052 §2.1).
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
        | [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => {
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => ip,
    }
}

/// Whether an address is one of the open Internet.
///
/// # Source
/// RFC 6890 §2.2.2, §2.2.3 and the registries that it names.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let is_special = match ip.octets() {
        // Of this host; of providers' NATs; of protocols; for benchmarks; reserved.
        [0, ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18 | 19, ..] | [240..=255, ..] => {
            true
        }
        // 6to4 relays.
        [192, 88, 99, _] => true,
        _ => false,
    };
    !(is_special
        || ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast())
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // Of what is given out for the Internet, without the tunnels 6to4 and Teredo, which lead to IPv4.
    let [first, second, ..] = ip.segments();
    first & 0xe000 == 0x2000 && first != 0x2002 && !(first == 0x2001 && second == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn rfc8656_21_4_inner_addresses_are_not_reached_in_any_dress() {
        let policy = Policy {
            own: vec!["198.51.100.1".parse().unwrap()],
            ..Policy::default()
        };
        for inner in [
            "127.0.0.1:80",
            "0.0.0.0:80",
            "10.1.2.3:80",
            "172.16.0.1:80",
            "192.168.1.1:80",
            "169.254.169.254:80",
            "100.64.0.1:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "198.51.100.1:5060",
            "[::1]:80",
            "[::]:80",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:198.51.100.1]:80",
            "[::127.0.0.1]:80",
            "[64:ff9b::a00:1]:80",
            "[2002:7f00:1::]:80",
            "[2001:0:1::]:80",
            "[fe80::1]:80",
            "[fd00::1]:80",
            "[ff02::1]:80",
            "203.0.113.1:0",
        ] {
            assert!(!policy.allows(peer(inner)), "{inner}");
        }
        for outer in ["203.0.113.1:1", "[2001:db8::1]:5000", "[2a00::1]:5000"] {
            assert!(policy.allows(peer(outer)), "{outer}");
        }
    }

    #[test]
    fn what_a_rule_allows_is_allowed_at_its_ports() {
        let rule = |network: &str, prefix, ports| Rule {
            network: network.parse().unwrap(),
            prefix,
            ports,
        };
        let policy = Policy {
            allow: vec![rule("10.1.0.0", 16, 10_000..=20_000)],
            deny: vec![rule("203.0.113.0", 24, 1..=65535)],
            own: Vec::new(),
        };
        assert!(policy.allows(peer("10.1.2.3:10000")));
        assert!(!policy.allows(peer("10.1.2.3:22")));
        assert!(!policy.allows(peer("10.2.2.3:10000")));
        assert!(!policy.allows(peer("203.0.113.7:10000")));
        assert!(policy.allows_some("10.1.2.3".parse().unwrap()));
        let all = rule("0.0.0.0", 0, 1..=65535);
        assert!(all.covers("127.0.0.1".parse().unwrap()));
    }
}
