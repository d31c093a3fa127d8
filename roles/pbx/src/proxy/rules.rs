//! What the PBX decides where it is a proxy.

use std::net::SocketAddr;

use base::Token;
use sip::digest::Credentials;
use sip::proxy::{Policy, Record, Target};
use sip::{Field, Flow, HeaderName, ServerKey, Writer};

use crate::call::Party;
use crate::context::Owner;
use crate::trunk::REMOTE_PARTY_ID;
use crate::{Config, Event};

/// The rules for one request.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) config: &'a Config,
    pub(super) server: ServerKey,
    pub(super) record: Record,
    /// Whom the callee is told that the caller is; none inside a dialog, and if the caller wants that
    /// to be kept secret.
    pub(super) identity: Option<&'a Party>,
}

impl<'a> Rules<'a> {
    /// For a request in a dialog.
    pub(super) fn in_dialog(config: &'a Config, server: ServerKey) -> Self {
        Self {
            config,
            server,
            record: Record::No,
            identity: None,
        }
    }

    fn is_for_us(&self, field: &Field<'_>) -> bool {
        let given = Credentials::parse(field.value);
        given.is_ok_and(|given| given.realm.is(&self.config.realm))
    }
}

impl Policy for Rules<'_> {
    type Owner = Owner;
    type Kept = Token;
    type Out = engine::Out<Event>;

    fn address(&self, flow: &Flow) -> SocketAddr {
        self.config.network.signalling_address(flow)
    }

    fn owner(&self) -> Owner {
        Owner::Proxy {
            server: self.server,
        }
    }

    fn record(&self) -> Record {
        self.record
    }

    /// Credentials for us are nobody else's business (RFC 3261 §22.3), and who somebody is we say
    /// ourselves (RFC 3325 §5).
    fn keeps(&self, field: &Field<'_>) -> bool {
        match field.name {
            HeaderName::Authorization | HeaderName::ProxyAuthorization => !self.is_for_us(field),
            HeaderName::PAssertedIdentity | HeaderName::PPreferredIdentity => false,
            HeaderName::Other => !field.spelling.eq_ignore_ascii_case(REMOTE_PARTY_ID),
            _ => true,
        }
    }

    fn add(&self, target: &Target, writer: &mut Writer<'_>) {
        let Some(caller) = self.identity else { return };
        let number = sip::uri::escape_user(&caller.number);
        let host = self.config.network.signalling_address(&target.flow);
        let shown = &caller.display;
        let name = HeaderName::PAssertedIdentity;
        if shown.is_empty() {
            writer.header(name, format_args!("<sip:{number}@{host}>"));
        } else {
            writer.header(name, format_args!("\"{shown}\" <sip:{number}@{host}>"));
        }
    }

    fn sign(&self, writer: &mut Writer<'_>) {
        self.config.put_server(writer);
    }
}
