//! Package `reg`: the phones of a user (RFC 3680).

use std::fmt::Write as _;

use store::Contact;

use super::xml::{DECLARATION, Text};

/// One phone as watchers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phone {
    uri: Box<str>,
    call_id: Box<str>,
    q: u16,
    /// When the binding ends, in seconds since 1970. Refreshes alone are not told.
    expires: u64,
}

impl Phone {
    pub(super) fn of(contact: &Contact) -> Self {
        Self {
            uri: contact.uri.clone(),
            call_id: contact.call_id.clone(),
            q: contact.q,
            expires: contact.expires.0,
        }
    }

    /// Whether watchers need not be told of the difference.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.uri == other.uri && self.q == other.q
    }

    /// Tells the contact apart from others of the user: a hash of its URI.
    fn id(&self) -> String {
        let octets = self.uri.bytes();
        let hash = octets.fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3)
        });
        format!("c{hash:016x}")
    }
}

/// All phones of `aor`, and those of `before` that have gone, at `now` in seconds since 1970.
///
/// # Source
/// RFC 3680 §5.1, §5.2.
pub(super) fn write(
    aor: &str,
    version: u32,
    before: &[Phone],
    phones: &[Phone],
    now: u64,
) -> String {
    let mut text = String::with_capacity(512);
    text.push_str(DECLARATION);
    let state = match (phones, before) {
        ([], []) => "init",
        ([], _) => "terminated",
        _ => "active",
    };
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"{version}\" state=\"full\">\n\
         <registration aor=\"{}\" id=\"r1\" state=\"{state}\">",
        Text(aor)
    );
    for phone in before {
        if !phones.iter().any(|other| other.uri == phone.uri) {
            let event = if phone.expires <= now {
                "expired"
            } else {
                "unregistered"
            };
            put(&mut text, phone, "terminated", event, 0);
        }
    }
    for phone in phones {
        let known = before.iter().any(|other| other.uri == phone.uri);
        let event = if known { "refreshed" } else { "registered" };
        put(
            &mut text,
            phone,
            "active",
            event,
            phone.expires.saturating_sub(now),
        );
    }
    text.push_str("</registration>\n</reginfo>\n");
    text
}

fn put(text: &mut String, phone: &Phone, state: &str, event: &str, expires: u64) {
    let _ = writeln!(
        text,
        "<contact id=\"{}\" state=\"{state}\" event=\"{event}\" expires=\"{expires}\" q=\"{}.{:03}\" \
         callid=\"{}\"><uri>{}</uri></contact>",
        phone.id(),
        phone.q / 1000,
        phone.q % 1000,
        Text(&phone.call_id),
        Text(&phone.uri)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(uri: &str, expires: u64) -> Phone {
        Phone {
            uri: uri.into(),
            call_id: "1".into(),
            q: 700,
            expires,
        }
    }

    #[test]
    fn rfc3680_5_2_contacts_come_and_go() {
        let empty = write("sip:a@h", 0, &[], &[], 100);
        assert!(empty.contains("version=\"0\" state=\"full\""), "{empty}");
        assert!(empty.contains("state=\"init\""), "{empty}");
        let (a, b) = (phone("sip:a@1;x=\"&\"", 160), phone("sip:b@2", 90));
        let both = write("sip:a@h", 1, &[], &[a.clone(), b.clone()], 80);
        assert!(
            both.contains("<uri>sip:a@1;x=&quot;&amp;&quot;</uri>"),
            "{both}"
        );
        assert!(both.contains("state=\"active\" event=\"registered\" expires=\"80\" q=\"0.700\""));
        let one = write(
            "sip:a@h",
            2,
            &[a.clone(), b.clone()],
            std::slice::from_ref(&a),
            100,
        );
        assert!(
            one.contains("state=\"terminated\" event=\"expired\""),
            "{one}"
        );
        assert!(one.contains("event=\"refreshed\" expires=\"60\""), "{one}");
        let none = write("sip:a@h", 3, &[a], &[], 100);
        assert!(none.contains("id=\"r1\" state=\"terminated\""), "{none}");
        assert!(none.contains("event=\"unregistered\""), "{none}");
    }
}
