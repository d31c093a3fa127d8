//! What an operator says.

use std::net::IpAddr;
use std::time::Duration;

/// How the relay works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Addresses for media, the default one first; never empty.
    pub interfaces: Vec<Interface>,
    /// Most calls at a time; further offers are refused.
    pub max_calls: usize,
    /// How long media of a deleted call go on, unless the request says otherwise.
    pub delete_delay: Duration,
    /// How long an offer may wait for its answer.
    pub offer_timeout: Duration,
}

/// An address for media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What requests call it. Several addresses may have one name, of different families.
    pub name: Box<str>,
    /// What is bound.
    pub address: IpAddr,
    /// What descriptions say.
    pub advertised: IpAddr,
}

impl Config {
    /// With one address.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self {
            interfaces: vec![Interface {
                name: "default".into(),
                address,
                advertised: address,
            }],
            max_calls: 10_000,
            delete_delay: Duration::from_secs(30),
            offer_timeout: Duration::from_secs(3600),
        }
    }

    /// The address that a request means: of the name if there is one, of the family if the name has
    /// it, else the first.
    #[must_use]
    pub fn interface(&self, name: Option<&str>, ipv6: Option<bool>) -> Option<&Interface> {
        let fits = |interface: &&Interface| ipv6.is_none_or(|v6| interface.address.is_ipv6() == v6);
        let name = match name {
            Some(name) => self.interfaces.iter().find(|i| &*i.name == name),
            None => None,
        };
        let name = &*name.or(self.interfaces.first())?.name;
        let mut named = self.interfaces.iter().filter(|i| &*i.name == name);
        let first = named.clone().next();
        named.find(fits).or(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_family_pick_an_address() {
        let interface = |name: &str, address: &str| Interface {
            name: name.into(),
            address: address.parse().unwrap(),
            advertised: address.parse().unwrap(),
        };
        let mut config = Config::at("192.0.2.1".parse().unwrap());
        config.interfaces = vec![
            interface("pub", "192.0.2.1"),
            interface("pub", "2001:db8::1"),
            interface("priv", "10.0.0.1"),
        ];
        let at = |name, ipv6| config.interface(name, ipv6).unwrap().address.to_string();
        assert_eq!(at(None, None), "192.0.2.1");
        assert_eq!(at(None, Some(true)), "2001:db8::1");
        assert_eq!(at(Some("priv"), None), "10.0.0.1");
        assert_eq!(at(Some("priv"), Some(true)), "10.0.0.1");
        assert_eq!(at(Some("internal"), Some(true)), "2001:db8::1");
    }
}
