//! From HTTP to SIP: the opening handshake of a WebSocket, and the hand-over of its connection.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{
    CONNECTION, HeaderName, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use engine::{Proxied, Upgraded};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::server::control::Control;

/// Answers the opening handshake; if it is a good one, the connection becomes one for SIP.
///
/// # Source
/// RFC 6455 §4.2, RFC 7118 §4.1.
pub(super) async fn upgrade(
    control: Arc<Control>,
    peer: SocketAddr,
    mut request: Request,
) -> Response {
    let http = &control.settings.load().server.http;
    let key = match check(request.headers(), &http.origins) {
        Ok(key) => key,
        Err(refusal) => return *refusal,
    };
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let client = super::client::behind(peer, request.headers(), http);
    tokio::spawn(hand_over(upgrade, client, Arc::clone(&control)));
    let headers = [
        (UPGRADE, "websocket"),
        (CONNECTION, "Upgrade"),
        (SEC_WEBSOCKET_PROTOCOL, "sip"),
        (SEC_WEBSOCKET_ACCEPT, key.as_str()),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// The value of Sec-WebSocket-Accept, or what to answer instead.
fn check(headers: &HeaderMap, origins: &[String]) -> Result<String, Box<Response>> {
    if !has(headers, &UPGRADE, "websocket") || !has(headers, &CONNECTION, "upgrade") {
        // Somebody looks at us with a browser.
        let text = "SIP over WebSockets is spoken here.\n";
        return Err((StatusCode::NOT_FOUND, text).into_response().into());
    }
    if !has(headers, &SEC_WEBSOCKET_VERSION, "13") {
        let version = [(SEC_WEBSOCKET_VERSION, "13")];
        return Err((StatusCode::UPGRADE_REQUIRED, version)
            .into_response()
            .into());
    }
    if !is_allowed(headers, origins) {
        return Err(StatusCode::FORBIDDEN.into_response().into());
    }
    let key = headers.get(SEC_WEBSOCKET_KEY);
    match key.filter(|_| has(headers, &SEC_WEBSOCKET_PROTOCOL, "sip")) {
        Some(key) => Ok(tungstenite::handshake::derive_accept_key(key.as_bytes())),
        None => Err((
            StatusCode::BAD_REQUEST,
            "the subprotocol must be sip (RFC 7118)\n",
        )
            .into_response()
            .into()),
    }
}

/// Whether one of the comma-separated values of a header is `wanted`.
fn has(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    let mut values = values.flat_map(|value| value.split(','));
    values.any(|value| value.trim().eq_ignore_ascii_case(wanted))
}

/// Whether pages of this origin may connect. Only browsers name one (RFC 6455 §10.2); a program that
/// lies about it has to know a password all the same.
fn is_allowed(headers: &HeaderMap, origins: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let named = |allowed: &String| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
    origins.is_empty() || origins.iter().any(named)
}

async fn hand_over(upgrade: OnUpgrade, client: Option<Proxied>, control: Arc<Control>) {
    // It fails if the client went away before it read the answer.
    let Ok(connection) = upgrade.await else {
        return;
    };
    let upgraded = match connection.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => plain(parts.io.into_inner(), parts.read_buf.to_vec()),
        Err(connection) => match connection.downcast::<TokioIo<TlsStream<TcpStream>>>() {
            Ok(parts) => encrypted(parts.io.into_inner(), parts.read_buf.to_vec()),
            // There are no others.
            Err(_) => return,
        },
    };
    let handed = upgraded.map(|mut upgraded| {
        upgraded.proxied = client;
        let handle = control.delivery.handle();
        handle.adopt(Box::new(upgraded)).is_ok()
    });
    if !matches!(handed, Ok(true)) {
        // Too busy: the client finds the connection closed and comes again.
        tracing::info!("a WebSocket could not be handed to the signalling threads");
    }
}

fn plain(stream: TcpStream, early: Vec<u8>) -> std::io::Result<Upgraded> {
    Ok(Upgraded {
        socket: stream.into_std()?,
        session: None,
        proxied: None,
        early,
    })
}

fn encrypted(stream: TlsStream<TcpStream>, early: Vec<u8>) -> std::io::Result<Upgraded> {
    let (stream, session) = stream.into_inner();
    let upgraded = plain(stream, early)?;
    Ok(Upgraded {
        session: Some(Box::new(session)),
        ..upgraded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, axum::http::HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    const GOOD: [(&str, &str); 5] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "chat, sip"),
    ];

    /// RFC 6455 §1.3 has this key with this answer.
    #[test]
    fn rfc7118_4_1_only_a_good_handshake_for_sip_succeeds() {
        let accepted = check(&headers(&GOOD), &[]).unwrap();
        assert_eq!(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for (absent, status) in [(0, 404), (1, 404), (2, 426), (3, 400), (4, 400)] {
            let mut pairs = GOOD.to_vec();
            pairs.remove(absent);
            let refusal = check(&headers(&pairs), &[]).unwrap_err();
            assert_eq!(refusal.status().as_u16(), status, "{absent}");
        }
    }

    #[test]
    fn rfc6455_10_2_pages_of_other_origins_are_refused_if_some_are_named() {
        let from = |origin| headers(&[&GOOD[..], &[("origin", origin)]].concat());
        let allowed = ["https://phone.example.com".to_owned()];
        check(&from("https://phone.example.com"), &allowed).unwrap();
        check(&headers(&GOOD), &allowed).unwrap();
        check(&from("https://evil.test"), &[]).unwrap();
        let refusal = check(&from("https://evil.test"), &allowed).unwrap_err();
        assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
    }
}
