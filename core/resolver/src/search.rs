//! One search for a server, within its time.

use std::time::Duration;

use sip::Protocol;
use sip::locate::{Lookup, Records, Search, Server, Stage, Way};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::Names;

/// Finds the ways to a server; none if there are none or `limit` is over before.
pub(crate) async fn search(names: Names, server: Server, limit: Duration) -> Vec<Way> {
    let end = Instant::now() + limit;
    let mut search = Search::new(server, SPEAKS);
    loop {
        let records = match search.stage() {
            Stage::Found(ways) => return ways.to_vec(),
            Stage::Look(lookups) => look(&names, lookups, until(lookups, end)).await,
        };
        search.take(records, &mut random);
    }
}

/// Looks up all at once. What has not come by `until` counts as absent.
async fn look(names: &Names, lookups: &[Lookup], until: Instant) -> Vec<Records> {
    let mut found = vec![Records::None; lookups.len()];
    let mut under_way = JoinSet::new();
    for (place, lookup) in lookups.iter().cloned().enumerate() {
        let names = names.clone();
        under_way.spawn(async move { (place, names.look(&lookup).await) });
    }
    while let Ok(Some(done)) = timeout_at(until, under_way.join_next()).await {
        if let Ok((place, records)) = done {
            found[place] = records;
        }
    }
    found
}

/// Half of the time that is left, so that addresses can still be asked for where a name server answers
/// no other questions; all of it for addresses, after which there is nothing.
fn until(lookups: &[Lookup], end: Instant) -> Instant {
    if matches!(lookups, [Lookup::Addresses(_), ..]) {
        return end;
    }
    let now = Instant::now();
    now + end.saturating_duration_since(now) / 2
}

/// A number below `below`; 0 if the system has no random numbers: then load is not spread.
fn random(below: u32) -> u32 {
    let number = getrandom::u32().unwrap_or(0);
    ((u64::from(number) * u64::from(below)) >> 32) as u32
}

/// What we speak to servers, the first preferred where a domain does not say what it likes.
const SPEAKS: &[Protocol] = &[Protocol::Udp, Protocol::Tcp, Protocol::Tls];
