//! Request methods.

use std::fmt;

/// A request method (RFC 3261 §7.1 and its extensions). Methods are case-sensitive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method<'a> {
    /// Starts or changes a session (RFC 3261 §13).
    Invite,
    /// Confirms a final answer to INVITE.
    Ack,
    /// Ends a session (RFC 3261 §15).
    Bye,
    /// Gives up a pending request (RFC 3261 §9).
    Cancel,
    /// Binds a contact to an address of record (RFC 3261 §10).
    Register,
    /// Asks for capabilities (RFC 3261 §11).
    Options,
    /// Confirms a reliable provisional answer (RFC 3262).
    Prack,
    /// Changes a session before or after it is answered (RFC 3311).
    Update,
    /// Carries application data inside a session (RFC 6086).
    Info,
    /// Asks for notifications (RFC 6665).
    Subscribe,
    /// Notifies (RFC 6665).
    Notify,
    /// Publishes event state (RFC 3903).
    Publish,
    /// Asks the peer to call somebody (RFC 3515).
    Refer,
    /// Carries an instant message (RFC 3428).
    Message,
    /// Any other token.
    Other(&'a str),
}

impl<'a> Method<'a> {
    /// The method with this name.
    #[must_use]
    pub fn parse(name: &'a str) -> Self {
        KNOWN
            .iter()
            .find(|(_, known)| *known == name)
            .map_or(Self::Other(name), |(method, _)| *method)
    }

    /// The name as it stands in a request line.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        match self {
            Self::Other(name) => name,
            known => KNOWN
                .iter()
                .find(|(method, _)| method == known)
                .map_or("", |(_, name)| name),
        }
    }

    /// The same method, free of the message that it came from; unknown methods become an empty one.
    #[must_use]
    pub fn detach(&self) -> Method<'static> {
        KNOWN
            .iter()
            .find(|(_, name)| *name == self.as_str())
            .map_or(Method::Other(""), |(method, _)| *method)
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const KNOWN: [(Method<'static>, &str); 14] = [
    (Method::Invite, "INVITE"),
    (Method::Ack, "ACK"),
    (Method::Bye, "BYE"),
    (Method::Cancel, "CANCEL"),
    (Method::Register, "REGISTER"),
    (Method::Options, "OPTIONS"),
    (Method::Prack, "PRACK"),
    (Method::Update, "UPDATE"),
    (Method::Info, "INFO"),
    (Method::Subscribe, "SUBSCRIBE"),
    (Method::Notify, "NOTIFY"),
    (Method::Publish, "PUBLISH"),
    (Method::Refer, "REFER"),
    (Method::Message, "MESSAGE"),
];
