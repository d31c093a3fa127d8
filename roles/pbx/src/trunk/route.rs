//! Which ways a call may take, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use base::Mint;
use sip::Flow;
use store::Contact;

use super::state::{Health, Registered, View, Way};
use super::{Trunk, Trunks};
use crate::network;

/// One way that a call may take.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) trunk: Arc<Trunk>,
    pub(crate) flow: Flow,
    pub(crate) health: Arc<Health>,
    /// For a trunk that registers here: its Contact and Path.
    pub(crate) contact: Option<(Box<str>, Vec<Box<str>>)>,
}

impl Route {
    /// The way to a trunk that has registered here with this contact.
    pub(crate) fn to_contact(trunk: &Arc<Trunk>, contact: &Contact) -> Self {
        let path = contact.path.iter().map(|hop| hop.as_str().into());
        Self {
            trunk: Arc::clone(trunk),
            flow: network::first_hop(contact),
            health: Arc::default(),
            contact: Some((contact.uri.clone(), path.collect())),
        }
    }
}

/// The ways of these trunks in the order in which a call tries them: trunk by trunk, inside a trunk by
/// priority and, within one, by chance according to weight. Trunks at which we are not registered come
/// last; ways that don't answer or rest are left out unless there is no other.
///
/// `now` is in milliseconds since 1970; `registered` gives the ways to trunks that register here.
///
/// # Source
/// RFC 3263 §4.3, RFC 2782 (weights)
pub(crate) fn routes<'n>(
    trunks: &Trunks,
    names: impl IntoIterator<Item = &'n str>,
    now: u64,
    mint: &mut Mint,
    registered: impl Fn(&Arc<Trunk>) -> Vec<Route>,
) -> VecDeque<Route> {
    let mut views: Vec<(&Arc<Trunk>, Arc<View>)> = names
        .into_iter()
        .filter_map(|name| trunks.named(name))
        .map(|trunk| (trunk, trunk.state.view()))
        .collect();
    views.sort_by_key(|(_, view)| view.registration == Registered::Trying);
    let mut all: Vec<Route> = Vec::new();
    for (trunk, view) in &views {
        all.extend(registered(trunk));
        all.extend(in_order(&view.ways, mint).into_iter().map(|way| Route {
            trunk: Arc::clone(trunk),
            flow: way.flow,
            health: Arc::clone(&way.health),
            contact: None,
        }));
    }
    let usable = |route: &&Route| route.health.is_usable(now);
    let good: VecDeque<Route> = all
        .iter()
        .filter(usable)
        .take(MOST_ROUTES)
        .cloned()
        .collect();
    if good.is_empty() {
        all.into_iter().take(MOST_ROUTES).collect()
    } else {
        good
    }
}

/// Ways by priority, and within one by chance according to weight.
pub(super) fn in_order<'w>(ways: &'w [Way], mint: &mut Mint) -> Vec<&'w Way> {
    let mut left: Vec<&Way> = ways.iter().collect();
    left.sort_by_key(|way| way.priority);
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let group = left
            .iter()
            .take_while(|way| way.priority == first.priority)
            .count();
        let chosen = draw(&left[..group], mint);
        ordered.push(left.remove(chosen));
    }
    ordered
}

/// One of these, by weight; of those without weight the first.
fn draw(group: &[&Way], mint: &mut Mint) -> usize {
    let total: u32 = group.iter().map(|way| u32::from(way.weight)).sum();
    let mut at = mint.below(total);
    group
        .iter()
        .position(|way| {
            let weight = u32::from(way.weight);
            let hit = at < weight;
            at = at.saturating_sub(weight);
            hit
        })
        .unwrap_or(0)
}

/// Most ways that one call tries.
const MOST_ROUTES: usize = 8;

#[cfg(test)]
pub(super) mod tests {
    use base::Slot;
    use sip::{Protocol, TlsPeer};

    use super::*;
    use crate::trunk::TrunkSettings;
    use crate::trunk::state::Reach;

    pub(in crate::trunk) fn way(port: u16, priority: u32, weight: u16) -> Way {
        Way {
            flow: Flow {
                protocol: Protocol::Udp,
                local: "192.0.2.1:5060".parse().unwrap(),
                remote: std::net::SocketAddr::new("198.51.100.1".parse().unwrap(), port),
                connection: None,
                tls: TlsPeer::ANY,
            },
            priority,
            weight,
            health: Arc::default(),
        }
    }

    fn trunks(ways: &[(&str, Vec<Way>, Registered)]) -> Trunks {
        let settings = ways
            .iter()
            .map(|(name, ..)| TrunkSettings::new(name, "x", Vec::new()))
            .collect();
        let trunks = Trunks::new(settings, &Trunks::default());
        for (name, ways, registration) in ways {
            trunks.named(name).unwrap().state.publish(View {
                ways: ways.clone(),
                registration: *registration,
                ..View::default()
            });
        }
        trunks
    }

    fn ports(trunks: &Trunks, names: &[&str]) -> Vec<u16> {
        let mut mint = Mint::new(Slot::new(0), [5; 32]);
        routes(trunks, names.iter().copied(), 1000, &mut mint, |_| {
            Vec::new()
        })
        .iter()
        .map(|route| route.flow.remote.port())
        .collect()
    }

    #[test]
    fn trunk_by_trunk_and_by_priority() {
        let trunks = trunks(&[
            ("a", vec![way(2, 20, 0), way(1, 10, 0)], Registered::No),
            ("b", vec![way(3, 0, 0)], Registered::No),
        ]);
        assert_eq!(ports(&trunks, &["a", "b"]), [1, 2, 3]);
        assert_eq!(ports(&trunks, &["b", "a", "none"]), [3, 1, 2]);
    }

    #[test]
    fn who_does_not_answer_is_left_out_unless_nobody_does() {
        let trunks = trunks(&[("a", vec![way(1, 0, 0), way(2, 1, 0)], Registered::No)]);
        let view = trunks.named("a").unwrap().state.view();
        view.ways[0].health.set(Reach::Down);
        assert_eq!(ports(&trunks, &["a"]), [2]);
        view.ways[1].health.rest(2000);
        assert_eq!(ports(&trunks, &["a"]), [1, 2]);
    }

    #[test]
    fn a_trunk_without_its_registration_comes_last() {
        let trunks = trunks(&[
            ("a", vec![way(1, 0, 0)], Registered::Trying),
            ("b", vec![way(2, 0, 0)], Registered::No),
        ]);
        assert_eq!(ports(&trunks, &["a", "b"]), [2, 1]);
    }

    #[test]
    fn rfc2782_weights_share_the_calls() {
        let ways = [way(1, 0, 75), way(2, 0, 25), way(3, 0, 0)];
        let mut mint = Mint::new(Slot::new(0), [9; 32]);
        let firsts: Vec<u16> = (0..4000)
            .map(|_| in_order(&ways, &mut mint)[0].flow.remote.port())
            .collect();
        let share = |port: u16| firsts.iter().filter(|p| **p == port).count();
        assert!((2800..3200).contains(&share(1)), "{}", share(1));
        assert_eq!(share(1) + share(2), 4000);
    }
}
