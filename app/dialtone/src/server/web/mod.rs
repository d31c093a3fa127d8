//! The web server: a door for browsers. SIP over WebSockets goes from here to the signalling threads.
//!
//! - [`doors`]: who gets in, and how many. - [`upgrade`]: from HTTP to SIP.
//! - [`client`]: who is behind a reverse proxy.

mod client;
mod doors;
mod upgrade;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::control::Control;
use crate::settings::http::{Http, Listen};
use doors::{Doors, Pass};

/// Sockets that listen, before anybody answers.
pub(super) struct Web {
    listeners: Vec<(Listen, std::net::TcpListener)>,
}

impl Web {
    /// Opens the sockets, so that a port that is taken is found at the start.
    pub(super) fn bind(settings: &Http, has_ipv6: bool) -> Result<Self> {
        let usable = settings.listen.iter().filter(|listen| {
            has_ipv6 || listen.address.ip() != IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED)
        });
        let listeners = usable.map(|listen| {
            let socket = open(listen.address)
                .with_context(|| format!("cannot listen on {listen} ([http] listen)"))?;
            let address = socket.local_addr()?;
            Ok((Listen { address, ..*listen }, socket))
        });
        Ok(Self {
            listeners: listeners.collect::<Result<_>>()?,
        })
    }

    /// The addresses, with the ports that were chosen.
    pub(super) fn listening(&self) -> Vec<Listen> {
        self.listeners.iter().map(|(listen, _)| *listen).collect()
    }

    /// Begins to serve, on the runtime of the caller.
    pub(super) fn serve(self, control: &Arc<Control>) -> io::Result<()> {
        let limits = &control.settings.load().server.http;
        let doors = Arc::new(Doors::new(
            limits.max_connections,
            limits.max_connections_per_peer,
        ));
        for (listen, socket) in self.listeners {
            let socket = TcpListener::from_std(socket)?;
            let (control, doors) = (Arc::clone(control), Arc::clone(&doors));
            tokio::spawn(accept(listen, socket, control, doors));
        }
        Ok(())
    }
}

/// Whose connections are counted: nobody's if a reverse proxy comes on behalf of many. It has bounds of
/// its own, and that of all connections holds.
fn one_of_many(peer: SocketAddr, control: &Control) -> Option<IpAddr> {
    let is_proxy = control.settings.load().server.http.is_proxy(peer.ip());
    (!is_proxy).then(|| peer.ip())
}

async fn accept(listen: Listen, socket: TcpListener, control: Arc<Control>, doors: Arc<Doors>) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                // Refused by closing: whoever has too many connections knows it.
                if let Some(pass) = doors.enter(one_of_many(peer, &control)) {
                    tokio::spawn(attend(listen, stream, peer, Arc::clone(&control), pass));
                }
            }
            // Descriptors have run out; trying at once would only keep the thread busy.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// One connection, until it ends or becomes a WebSocket.
async fn attend(
    listen: Listen,
    stream: TcpStream,
    peer: SocketAddr,
    control: Arc<Control>,
    pass: Pass,
) {
    // It works without.
    let _ = stream.set_nodelay(true);
    let router = router(Arc::clone(&control), peer);
    let timeout = control.settings.load().server.http.header_timeout;
    if !listen.secure {
        return serve(stream, router, timeout, pass).await;
    }
    let acceptor = TlsAcceptor::from(control.tls.load().web());
    match tokio::time::timeout(timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, router, timeout, pass).await,
        Ok(Err(error)) => {
            let peer = base::Pii(peer);
            tracing::debug!(%peer, %error, "https: no handshake");
        }
        Err(_) => tracing::debug!(peer = %base::Pii(peer), "https: the handshake takes too long"),
    }
}

async fn serve<S>(stream: S, router: Router, timeout: Duration, _pass: Pass)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // It counts from the end of the request before, so that it is the limit of idleness as well.
        .header_read_timeout(timeout)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "http");
    }
}

fn router(control: Arc<Control>, peer: SocketAddr) -> Router {
    let health = Arc::clone(&control);
    let websocket = get(move |request| upgrade::upgrade(Arc::clone(&control), peer, request));
    Router::new()
        .route("/", websocket.clone())
        .route("/ws", websocket)
        .route(
            "/health",
            get(move || async move { answer_health(&health) }),
        )
}

fn answer_health(control: &Control) -> (StatusCode, &'static str) {
    match api::Server::health(control).healthy {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not well\n"),
    }
}

fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the old connections to leave TIME-WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Largest header section, in octets.
const HEAD: usize = 16 * 1024;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long nothing is accepted after descriptors ran out.
const PAUSE: Duration = Duration::from_millis(200);
