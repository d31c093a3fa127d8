//! The control socket of a relay: how it is, and its end. What else the command line may ask is not
//! a relay's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use api::{Health, Refusal, Status};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::sync::Notify;

use crate::folder::Folder;
use crate::server::now;

/// What is shown of a relay.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) folder: Folder,
    pub(super) listen: Vec<String>,
    pub(super) started: u64,
    pub(super) calls: AtomicU64,
    pub(super) calls_total: AtomicU64,
    pub(super) stop: Notify,
}

impl Control {
    pub(super) fn new(folder: &Folder, listen: Vec<String>) -> Self {
        Self {
            folder: folder.clone(),
            listen,
            started: now(),
            calls: AtomicU64::new(0),
            calls_total: AtomicU64::new(0),
            stop: Notify::new(),
        }
    }

    fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            data: self.folder.root().display().to_string(),
            started: self.started,
            listen: self.listen.clone(),
            users: 0,
            registered_users: 0,
            phones: 0,
            calls: self.calls.load(Relaxed) as usize,
            calls_total: self.calls_total.load(Relaxed),
            authentication_failures: 0,
            health: HEALTHY,
            counters: BTreeMap::new(),
        }
    }
}

/// Answers whoever asks, on the present runtime, until that ends.
pub(super) fn serve(control: &Arc<Control>) -> Result<()> {
    let path = control.folder.socket();
    let listener = api::socket::bind(&path)
        .with_context(|| format!("the control socket can't be made at {}", path.display()))?;
    let router = Router::new()
        .route(
            "/status",
            get(|State(c): Shared| async move { Json(c.status()) }),
        )
        .route("/health", get(|| async { Json(HEALTHY) }))
        .route("/stop", post(stop))
        .fallback(|| async { (StatusCode::NOT_FOUND, Json(Refusal::new(NOT_HERE))) })
        .with_state(Arc::clone(control));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}

type Shared = State<Arc<Control>>;

async fn stop(State(control): Shared) -> StatusCode {
    control.stop.notify_one();
    StatusCode::ACCEPTED
}

/// It answers, so it can do its work.
const HEALTHY: Health = Health {
    healthy: true,
    faults: Vec::new(),
};

const NOT_HERE: &str =
    "this server is a media relay: it has a status and health, and can be stopped";
