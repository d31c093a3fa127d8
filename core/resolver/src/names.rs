//! One lookup: name servers, hosts file, cache.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use sip::locate::{Lookup, Naptr, Records, Srv};

use crate::Settings;

/// Looks up records; remembers what it has found, and what it has not, for as long as the records say.
#[derive(Clone)]
pub struct Names {
    resolver: TokioResolver,
}

impl Names {
    /// Looks names up as `settings` say. Reads `/etc/hosts` once, and `/etc/resolv.conf` if no name
    /// servers are set.
    ///
    /// # Errors
    /// If the settings can't be used at all.
    pub fn new(settings: &Settings) -> Result<Self, NetError> {
        let (config, mut options) = configured(settings);
        options.timeout = settings.timeout;
        options.attempts = ATTEMPTS;
        options.cache_size = MOST_CACHED;
        options.try_tcp_on_error = true;
        // The order in which servers are listed says nothing about how well they are.
        options.server_ordering_strategy = ServerOrderingStrategy::QueryStatistics;
        options.negative_max_ttl = Some(LONGEST_ABSENCE);
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider);
        let resolver = builder.with_options(options).build()?;
        Ok(Self { resolver })
    }

    /// Looks one name up. Names that can't be, name servers that don't answer and absent records all
    /// come to [`Records::None`].
    pub async fn look(&self, lookup: &Lookup) -> Records {
        let found = match lookup {
            Lookup::Naptr(name) => self.naptr(name).await.map(Records::Naptr),
            Lookup::Srv(name) => self.srv(name).await.map(Records::Srv),
            Lookup::Addresses(name) => {
                let addresses = self.addresses(name).await;
                (!addresses.is_empty()).then_some(Records::Addresses(addresses))
            }
        };
        found.unwrap_or(Records::None)
    }

    /// All addresses of a host. IPv4 comes first: where one family does not work, it is seldom this
    /// one.
    pub async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let v4 = self.records(host, RecordType::A, |data| match data {
            RData::A(address) => Some(IpAddr::V4(Ipv4Addr::from(*address))),
            _ => None,
        });
        let v6 = self.records(host, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(IpAddr::V6(Ipv6Addr::from(*address))),
            _ => None,
        });
        let (v4, v6) = tokio::join!(v4, v6);
        let (v4, v6) = (v4.unwrap_or_default(), v6.unwrap_or_default());
        v4.into_iter().chain(v6).collect()
    }

    async fn naptr(&self, name: &str) -> Option<Vec<Naptr>> {
        let records = self.records(name, RecordType::NAPTR, |data| match data {
            RData::NAPTR(naptr) => Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: text(&naptr.flags),
                services: text(&naptr.services),
                replacement: naptr.replacement.to_ascii().into(),
            }),
            _ => None,
        });
        records.await
    }

    async fn srv(&self, name: &str) -> Option<Vec<Srv>> {
        let records = self.records(name, RecordType::SRV, |data| match data {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii().into(),
            }),
            _ => None,
        });
        records.await
    }

    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Option<Vec<T>> {
        let name = self.name(name)?;
        let lookup = match self.resolver.lookup(name, kind).await {
            Ok(lookup) => lookup,
            Err(error) => {
                tracing::debug!(%error, %kind, "a name was not found");
                return None;
            }
        };
        let records = lookup.answers().iter();
        Some(records.filter_map(|record| pick(&record.data)).collect())
    }

    /// A name with as many dots as the search list demands is complete: it is not tried under the
    /// domains of that list, where it would cost questions and could be somebody else's.
    fn name(&self, text: &str) -> Option<Name> {
        let mut name = Name::from_utf8(text).ok()?;
        let dots = text.bytes().filter(|byte| *byte == b'.').count();
        if dots >= self.resolver.options().ndots.max(1) {
            name.set_fqdn(true);
        }
        Some(name)
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

fn configured(settings: &Settings) -> (ResolverConfig, ResolverOpts) {
    if !settings.servers.is_empty() {
        let servers = settings.servers.iter().map(|address| server(*address));
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        return (config, ResolverOpts::default());
    }
    match read_system_conf() {
        Ok((config, options)) if !config.name_servers().is_empty() => (config, options),
        _ => {
            let servers = PUBLIC.map(|ip| server(SocketAddr::new(ip, 53)));
            tracing::warn!(
                servers = %PUBLIC.map(|ip| ip.to_string()).join(", "),
                "/etc/resolv.conf names no name server: public ones are used; set dns.servers to change that"
            );
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.to_vec());
            (config, ResolverOpts::default())
        }
    }
}

/// A name server that is asked over UDP, and over TCP what does not fit into a datagram (RFC 7766 §5).
fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

fn text(octets: &[u8]) -> Box<str> {
    String::from_utf8_lossy(octets).into()
}

/// How often a question is put before it counts as not answered.
const ATTEMPTS: usize = 2;

/// Most answers that are remembered; the least used make room.
const MOST_CACHED: u64 = 4096;

/// How long an absence is believed at most: somebody may just be entering the name.
const LONGEST_ABSENCE: std::time::Duration = std::time::Duration::from_secs(300);

/// Asked where the system names no name server: two operators, so that one may be down.
const PUBLIC: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)),
    IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)),
];
