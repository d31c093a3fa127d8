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
        match name {
            "INVITE" => Self::Invite,
            "ACK" => Self::Ack,
            "BYE" => Self::Bye,
            "CANCEL" => Self::Cancel,
            "REGISTER" => Self::Register,
            "OPTIONS" => Self::Options,
            "PRACK" => Self::Prack,
            "UPDATE" => Self::Update,
            "INFO" => Self::Info,
            "SUBSCRIBE" => Self::Subscribe,
            "NOTIFY" => Self::Notify,
            "PUBLISH" => Self::Publish,
            "REFER" => Self::Refer,
            "MESSAGE" => Self::Message,
            _ => Self::Other(name),
        }
    }

    /// The name as it stands in a request line.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Register => "REGISTER",
            Self::Options => "OPTIONS",
            Self::Prack => "PRACK",
            Self::Update => "UPDATE",
            Self::Info => "INFO",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Publish => "PUBLISH",
            Self::Refer => "REFER",
            Self::Message => "MESSAGE",
            Self::Other(name) => name,
        }
    }

    /// The same method, free of the message that it came from; unknown methods become an empty one.
    #[must_use]
    pub fn detach(&self) -> Method<'static> {
        match self {
            Self::Invite => Method::Invite,
            Self::Ack => Method::Ack,
            Self::Bye => Method::Bye,
            Self::Cancel => Method::Cancel,
            Self::Register => Method::Register,
            Self::Options => Method::Options,
            Self::Prack => Method::Prack,
            Self::Update => Method::Update,
            Self::Info => Method::Info,
            Self::Subscribe => Method::Subscribe,
            Self::Notify => Method::Notify,
            Self::Publish => Method::Publish,
            Self::Refer => Method::Refer,
            Self::Message => Method::Message,
            Self::Other(_) => Method::Other(""),
        }
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
