//! The registration directory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base::{SLOTS, Slot, UnixTime};
use sip::Flow;

use crate::{packed, record};

/// One phone that a user has registered (RFC 3261 §10: a binding).
#[derive(Clone, Debug, PartialEq)]
pub struct Contact {
    /// The Contact URI as it was registered.
    pub uri: Box<str>,
    /// How the REGISTER came, so how the phone is reached.
    pub flow: Flow,
    /// Path header values, topmost first (RFC 3327).
    pub path: Vec<String>,
    /// The device's `+sip.instance` (RFC 5626).
    pub instance: Option<Box<str>>,
    /// Which of several flows of the device (`reg-id`, RFC 5626 §4.2); 0: it has one.
    pub reg_id: u32,
    /// Preference in thousandths, 0 to 1000.
    pub q: u16,
    /// Call-ID of the last REGISTER.
    pub call_id: Box<str>,
    /// CSeq number of the last REGISTER.
    pub cseq: u32,
    /// When the binding ends.
    pub expires: UnixTime,
    /// The phone's User-Agent; empty if it sent none.
    pub user_agent: Box<str>,
    /// What the last OPTIONS taught. Not kept on disk.
    pub reach: Reach,
}

/// Whether a registered phone answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reach {
    /// It has not been asked yet.
    #[default]
    Unknown,
    /// It answered the last time.
    Reachable {
        /// How long the answer took.
        rtt: Duration,
    },
    /// It did not answer the last time.
    Unreachable,
}

/// Who is registered where. Shared by all threads; each user is written by one slot only,
/// `Slot::of_key(user)`, and read by all.
#[derive(Debug)]
pub struct Bindings {
    /// One stripe a slot: so a slot's writer meets readers only, never another writer.
    stripes: Box<[RwLock<Stripe>]>,
}

/// Users with their contacts as [`packed`] writes them: most are never looked at between two
/// registrations.
type Stripe = HashMap<Box<str>, Box<[u8]>>;

impl Bindings {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stripes: (0..SLOTS).map(|_| RwLock::default()).collect(),
        }
    }

    /// The contacts of `user`; never an empty list.
    #[must_use]
    pub fn lookup(&self, user: &str) -> Option<Arc<[Contact]>> {
        self.read(Slot::of_key(user.as_bytes()), |stripe| {
            stripe.get(user).map(|packed| packed::unpack(packed).into())
        })
    }

    /// Makes `contacts` all that `user` has; none removes the user.
    pub fn replace(&self, user: &str, contacts: &[Contact]) {
        let packed = packed::pack(contacts);
        let mut stripe = self.stripes[Slot::of_key(user.as_bytes()).index()]
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if contacts.is_empty() {
            stripe.remove(user);
        } else if let Some(entry) = stripe.get_mut(user) {
            *entry = packed;
        } else {
            stripe.insert(user.into(), packed);
        }
    }

    /// Notes whether those contacts of `user` answer that `is_meant` chooses. Any thread may: the user's
    /// slot, if it changes the user at this moment, wins.
    pub fn mark(&self, user: &str, reach: Reach, is_meant: impl Fn(&Contact) -> bool) {
        let mut stripe = self.stripes[Slot::of_key(user.as_bytes()).index()]
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = stripe.get_mut(user) else {
            return;
        };
        let mut contacts = packed::unpack(entry);
        let mut meant = contacts
            .iter_mut()
            .filter(|contact| is_meant(contact))
            .peekable();
        if meant.peek().is_some() {
            meant.for_each(|contact| contact.reach = reach);
            *entry = packed::pack(&contacts);
        }
    }

    /// Calls `visit` for each registered user, a slot at a time. Writers of the slot at hand wait,
    /// so `visit` is quick, and doesn't change this directory.
    pub fn for_each(&self, mut visit: impl FnMut(&str, &Arc<[Contact]>)) {
        for number in 0..=u8::MAX {
            self.for_each_in(Slot::new(number), &mut visit);
        }
    }

    /// [`for_each`](Self::for_each) over the users of one slot: those whose timers it keeps.
    pub fn for_each_in(&self, slot: Slot, mut visit: impl FnMut(&str, &Arc<[Contact]>)) {
        self.read(slot, |stripe| {
            for (user, contacts) in stripe {
                visit(user, &packed::unpack(contacts).into());
            }
        });
    }

    /// How many users are registered.
    #[must_use]
    pub fn len(&self) -> usize {
        let users = |number| self.read(Slot::new(number), HashMap::len);
        (0..=u8::MAX).map(users).sum()
    }

    /// Whether nobody is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes over records from a [`Journal`](crate::Journal), oldest first, without the contacts
    /// that have expired at `now`. Returns how many records were not understood.
    pub fn restore(&self, records: &[Vec<u8>], now: UnixTime) -> usize {
        let mut strange = 0;
        for bytes in records {
            match record::decode(bytes) {
                Ok((user, mut contacts)) => {
                    contacts.retain(|contact| contact.expires > now);
                    self.replace(&user, &contacts);
                }
                Err(_) => strange += 1,
            }
        }
        strange
    }

    fn read<T>(&self, slot: Slot, look: impl FnOnce(&Stripe) -> T) -> T {
        // A stripe is consistent after each statement, so a panicked writer left nothing half done.
        let stripe = self.stripes[slot.index()].read();
        look(&stripe.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Bindings {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn contact(uri: &str) -> Contact {
        Contact {
            uri: uri.into(),
            flow: Flow {
                protocol: sip::Protocol::Udp,
                local: "192.0.2.1:5060".parse().unwrap(),
                remote: "[2001:db8::7]:40001".parse().unwrap(),
                connection: None,
                tls: sip::TlsPeer::ANY,
            },
            path: vec!["<sip:edge.example.com;lr>".into()],
            instance: Some("<urn:uuid:00000000-0000-1000-8000-000a95a0e128>".into()),
            reg_id: 2,
            q: 700,
            call_id: "843817637684230@998sdasdh09".into(),
            cseq: 1826,
            expires: UnixTime(2_000_000_000),
            user_agent: "Softphone 1.0".into(),
            reach: Reach::Unknown,
        }
    }

    #[test]
    fn a_replaced_user_is_found_until_emptied() {
        let bindings = Bindings::new();
        assert!(bindings.is_empty() && bindings.lookup("1001").is_none());
        bindings.replace("1001", &[contact("sip:a@h"), contact("sip:b@h")]);
        bindings.replace("1002", &[contact("sip:c@h")]);
        assert_eq!(bindings.lookup("1001").unwrap().len(), 2);
        assert_eq!(bindings.len(), 2);
        bindings.replace("1001", &[contact("sip:b@h")]);
        assert_eq!(&*bindings.lookup("1001").unwrap()[0].uri, "sip:b@h");
        bindings.replace("1001", &[]);
        assert!(bindings.lookup("1001").is_none());
        assert_eq!(bindings.len(), 1);
    }

    #[test]
    fn one_contact_of_many_is_marked() {
        let bindings = Bindings::new();
        bindings.replace("1001", &[contact("sip:a@h"), contact("sip:b@h")]);
        bindings.mark("1001", Reach::Unreachable, |c| *c.uri == *"sip:b@h");
        bindings.mark("1002", Reach::Unreachable, |_| true);
        let marked = bindings.lookup("1001").unwrap();
        assert_eq!(marked[0].reach, Reach::Unknown);
        assert_eq!(marked[1].reach, Reach::Unreachable);
        assert!(bindings.lookup("1002").is_none());
    }

    #[test]
    fn what_is_kept_in_memory_is_what_was_given() {
        let bindings = Bindings::new();
        let mut first = contact("sip:a@h");
        first.flow.connection = Some(sip::ConnectionId(u64::MAX - 1));
        first.flow.tls = sip::TlsPeer(7);
        first.reach = Reach::Unreachable;
        let mut second = contact("sip:b@[2001:db8::1]");
        second.path.clear();
        second.instance = None;
        second.reach = Reach::Reachable {
            rtt: Duration::from_micros(1500),
        };
        let both = [first, second];
        bindings.replace("1001", &both);
        assert_eq!(*bindings.lookup("1001").unwrap(), both);
    }

    #[test]
    fn a_slot_sees_exactly_its_own_users() {
        let bindings = Bindings::new();
        for number in 0..500 {
            bindings.replace(&number.to_string(), &[contact("sip:a@h")]);
        }
        let (mut all, mut by_slot) = (0, 0);
        bindings.for_each(|_, _| all += 1);
        for number in 0..=u8::MAX {
            let slot = Slot::new(number);
            bindings.for_each_in(slot, |user, _| {
                assert_eq!(Slot::of_key(user.as_bytes()), slot);
                by_slot += 1;
            });
        }
        assert_eq!((all, by_slot), (500, 500));
    }

    #[test]
    fn restoring_drops_what_expired_and_counts_what_is_strange() {
        let bindings = Bindings::new();
        let mut old = contact("sip:old@h");
        old.expires = UnixTime(100);
        let records = [
            record::encode("1001", &[old.clone(), contact("sip:new@h")]),
            record::encode("1002", &[contact("sip:x@h")]),
            record::encode("1002", &[old]),
            b"nonsense".to_vec(),
        ];
        assert_eq!(bindings.restore(&records, UnixTime(100)), 1);
        assert_eq!(bindings.len(), 1);
        assert_eq!(&*bindings.lookup("1001").unwrap()[0].uri, "sip:new@h");
    }
}
