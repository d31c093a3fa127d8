//! The other end of the socket, for commands.

use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use crate::socket;
use crate::types::Refusal;

/// Talks to the server behind one socket. Each request is a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens at the socket.
    #[error("no server is running: nobody listens at {}", path.display())]
    NotRunning {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The socket may not be used by this user.
    #[error("{} may not be used by this user; run the command as the server's user", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The server did not answer, or not in HTTP.
    #[error("the server did not answer: {0}")]
    Broken(String),
    /// The server refused.
    #[error("{}", .0.error)]
    Refused(Refusal),
}

impl Client {
    /// A client of the server that listens at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// `GET`s a resource.
    ///
    /// # Errors
    /// If no server answers, or it refuses.
    pub fn fetch<T: DeserializeOwned>(&self, resource: &str) -> Result<T, ClientError> {
        self.read(Method::GET, resource)
    }

    /// `POST`s to a resource that answers with a document.
    ///
    /// # Errors
    /// If no server answers, or it refuses.
    pub fn post<T: DeserializeOwned>(&self, resource: &str) -> Result<T, ClientError> {
        self.read(Method::POST, resource)
    }

    /// `POST`s to a resource that only accepts.
    ///
    /// # Errors
    /// If no server answers, or it refuses.
    pub fn command(&self, resource: &str) -> Result<(), ClientError> {
        self.request(Method::POST, resource).and_then(accepted)
    }

    /// `DELETE`s a resource.
    ///
    /// # Errors
    /// If no server answers, or it refuses.
    pub fn delete(&self, resource: &str) -> Result<(), ClientError> {
        self.request(Method::DELETE, resource).and_then(accepted)
    }

    /// `GET`s a document that may come with a status of failure, such as `/health`.
    ///
    /// # Errors
    /// If no server answers, or in another form.
    pub fn fetch_any<T: DeserializeOwned>(&self, resource: &str) -> Result<T, ClientError> {
        let (_, body) = self.request(Method::GET, resource)?;
        parse(&body)
    }

    /// `GET`s lines as they come, and hands each to `take` without its line feed, until `take` breaks,
    /// `until` is done, or the server ends them. `Ok(false)` if the server did.
    ///
    /// # Errors
    /// If no server answers, or it refuses, or it is gone all at once.
    pub fn follow(
        &self,
        resource: &str,
        until: impl Future<Output = ()>,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<bool, ClientError> {
        runtime()?.block_on(async {
            let send = self.send(Method::GET, resource);
            let Ok(response) = tokio::time::timeout(PATIENCE, send).await else {
                return Err(silence());
            };
            let response = response?;
            if !response.status().is_success() {
                let status = response.status();
                let body = response.into_body().collect().await.map_err(broken)?;
                accepted((status, body.to_bytes()))?;
                return Ok(false);
            }
            tokio::select! {
                read = read_lines(response.into_body(), &mut take) => read,
                () = until => Ok(true),
            }
        })
    }

    fn read<T: DeserializeOwned>(&self, method: Method, resource: &str) -> Result<T, ClientError> {
        let answer = self.request(method, resource)?;
        let body = answer.1.clone();
        accepted(answer)?;
        parse(&body)
    }

    fn request(&self, method: Method, resource: &str) -> Result<(StatusCode, Bytes), ClientError> {
        runtime()?.block_on(async {
            let exchange = self.exchange(method, resource);
            match tokio::time::timeout(PATIENCE, exchange).await {
                Ok(answer) => answer,
                Err(_) => Err(silence()),
            }
        })
    }

    async fn exchange(
        &self,
        method: Method,
        resource: &str,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let response = self.send(method, resource).await?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(broken)?;
        Ok((status, body.to_bytes()))
    }

    /// Sends a request on a connection of its own, which ends with the runtime.
    async fn send(
        &self,
        method: Method,
        resource: &str,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = socket::connect(&self.path)
            .await
            .map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(resource)
            .header(hyper::header::HOST, "dialtone")
            .body(Empty::<Bytes>::new())
            .map_err(broken)?;
        sender.send_request(request).await.map_err(broken)
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let path = self.path.clone();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { path }
            }
            io::ErrorKind::PermissionDenied => ClientError::Denied { path },
            _ => broken(error),
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(broken)
}

async fn read_lines(
    mut body: Incoming,
    take: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<bool, ClientError> {
    let mut begun = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(octets) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        begun.extend_from_slice(&octets);
        let mut rest = &begun[..];
        while let Some(end) = rest.iter().position(|&octet| octet == b'\n') {
            if take(&rest[..end]).is_break() {
                return Ok(true);
            }
            rest = &rest[end + 1..];
        }
        let taken = begun.len() - rest.len();
        begun.drain(..taken);
    }
    Ok(false)
}

fn accepted((status, body): (StatusCode, Bytes)) -> Result<(), ClientError> {
    if status.is_success() {
        return Ok(());
    }
    let refusal =
        serde_json::from_slice(&body).unwrap_or_else(|_| Refusal::new(status.to_string()));
    Err(ClientError::Refused(refusal))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body)
        .map_err(|error| broken(format!("{error}; is it of another release?")))
}

fn silence() -> ClientError {
    ClientError::Broken(format!("silence for {PATIENCE:?}"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err calls")]
fn broken(error: impl ToString) -> ClientError {
    ClientError::Broken(error.to_string())
}

/// The server answers from memory; a machine that swaps may need a while.
const PATIENCE: Duration = Duration::from_secs(10);
