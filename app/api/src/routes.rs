//! Requests.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};

use crate::lines::Lines;
use crate::rooms::RoomFilter;
use crate::trace::TraceFilter;
use crate::types::{
    Call, Concerned, Health, Moderation, Phone, Record, RecordAction, Refusal, Reloaded, Room,
    Status, Transfer, Trunk, VoiceMessages, Waiting,
};

/// What the API needs of a server. Answers come at once: they are copied out of memory, but for
/// [`reload`](Self::reload), which reads three small files.
pub trait Server: Send + Sync + 'static {
    /// The server as a whole.
    fn status(&self) -> Status;
    /// Registered phones, ordered by user.
    fn phones(&self) -> Vec<Phone>;
    /// Trunks, in the order of the configuration.
    fn trunks(&self) -> Vec<Trunk>;
    /// Users for whom something waits, ordered by name.
    fn waiting(&self) -> Vec<Waiting>;
    /// Sets how many voice messages wait for a user, and has the user's phones told. Waits for the
    /// disk.
    ///
    /// # Errors
    /// If there is no such user, or the disk refuses.
    fn set_voice_messages(&self, user: &str, voice: VoiceMessages) -> Result<(), Refusal>;
    /// Calls in progress, oldest first.
    fn calls(&self) -> Vec<Call>;
    /// Begins to end a call.
    ///
    /// # Errors
    /// If there is no such call.
    fn hangup(&self, id: &str) -> Result<(), Refusal>;
    /// Conference rooms, by name.
    fn rooms(&self) -> Vec<Room>;
    /// Begins to tell what happens in conference rooms.
    ///
    /// # Errors
    /// If too many follow that already.
    fn room_events(&self, filter: RoomFilter) -> Result<Lines, Refusal>;
    /// Moderates a conference room.
    ///
    /// # Errors
    /// If there is no such room, or call in it.
    fn moderate(
        &self,
        room: &str,
        moderation: Moderation,
        concerned: &Concerned,
    ) -> Result<(), Refusal>;
    /// Begins to send a party of a call to another number.
    ///
    /// # Errors
    /// If there is no such call.
    fn transfer(&self, id: &str, transfer: &Transfer) -> Result<(), Refusal>;
    /// Records a call, or stops.
    ///
    /// # Errors
    /// If there is no such call.
    fn record(&self, id: &str, action: RecordAction) -> Result<(), Refusal>;
    /// Reads the configuration again.
    ///
    /// # Errors
    /// If it can't be used; the one in use stays.
    fn reload(&self) -> Result<Reloaded, Refusal>;
    /// Begins to end the server.
    fn stop(&self);
    /// Begins to show messages that come and go.
    ///
    /// # Errors
    /// If there is no such call, or no such past.
    fn trace(&self, filter: TraceFilter) -> Result<Lines, Refusal>;
    /// Whether the server can do its work.
    fn health(&self) -> Health;
}

type Shared = State<Arc<dyn Server>>;

/// The routes of the API.
pub fn router(server: Arc<dyn Server>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/phones", get(phones))
        .route("/trunks", get(trunks))
        .route("/waiting", get(waiting))
        .route("/users/{name}/voice-messages", post(set_voice_messages))
        .route("/calls", get(calls))
        .route("/calls/{id}", delete(hangup))
        .route("/calls/{id}/transfer", post(transfer))
        .route("/calls/{id}/record", post(record))
        .route("/rooms", get(rooms))
        .route("/rooms/events", get(room_events))
        .route("/rooms/{name}/{moderation}", post(moderate))
        .route("/reload", post(reload))
        .route("/stop", post(stop))
        .route("/trace", get(trace))
        .route("/health", get(health))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(server)
}

async fn status(server: Shared) -> Json<Status> {
    Json(server.status())
}

async fn phones(server: Shared) -> Json<Vec<Phone>> {
    Json(server.phones())
}

async fn trunks(server: Shared) -> Json<Vec<Trunk>> {
    Json(server.trunks())
}

async fn waiting(server: Shared) -> Json<Vec<Waiting>> {
    Json(server.waiting())
}

async fn set_voice_messages(
    server: Shared,
    Path(name): Path<String>,
    Query(voice): Query<VoiceMessages>,
) -> Response {
    match server.set_voice_messages(&name, voice) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => (StatusCode::NOT_FOUND, Json(refusal)).into_response(),
    }
}

async fn calls(server: Shared) -> Json<Vec<Call>> {
    Json(server.calls())
}

async fn hangup(server: Shared, Path(id): Path<String>) -> Response {
    match server.hangup(&id) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => refuse(refusal),
    }
}

async fn transfer(
    server: Shared,
    Path(id): Path<String>,
    Query(transfer): Query<Transfer>,
) -> Response {
    match server.transfer(&id, &transfer) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => refuse(refusal),
    }
}

async fn record(server: Shared, Path(id): Path<String>, Query(record): Query<Record>) -> Response {
    match server.record(&id, record.action) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => refuse(refusal),
    }
}

async fn rooms(server: Shared) -> Json<Vec<Room>> {
    Json(server.rooms())
}

async fn room_events(server: Shared, Query(filter): Query<RoomFilter>) -> Response {
    server.room_events(filter).map_or_else(refuse, as_they_come)
}

async fn moderate(
    server: Shared,
    Path((name, moderation)): Path<(String, Moderation)>,
    Query(concerned): Query<Concerned>,
) -> Response {
    match server.moderate(&name, moderation, &concerned) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => refuse(refusal),
    }
}

/// Answers a request about a call that is not there, or that is not in a state for it.
fn refuse(refusal: Refusal) -> Response {
    let status = match refusal.conflict {
        true => StatusCode::CONFLICT,
        false => StatusCode::NOT_FOUND,
    };
    (status, Json(refusal)).into_response()
}

async fn reload(server: Shared) -> Response {
    match server.reload() {
        Ok(reloaded) => Json(reloaded).into_response(),
        Err(refusal) => (StatusCode::UNPROCESSABLE_ENTITY, Json(refusal)).into_response(),
    }
}

async fn stop(server: Shared) -> StatusCode {
    server.stop();
    StatusCode::ACCEPTED
}

async fn trace(server: Shared, Query(filter): Query<TraceFilter>) -> Response {
    match server.trace(filter) {
        Ok(lines) => as_they_come(lines),
        Err(refusal) => (StatusCode::NOT_FOUND, Json(refusal)).into_response(),
    }
}

fn as_they_come(lines: Lines) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::new(lines)).into_response()
}

async fn health(server: Shared) -> (StatusCode, Json<Health>) {
    let health = server.health();
    let status = if health.healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health))
}

async fn unknown() -> (StatusCode, Json<Refusal>) {
    (
        StatusCode::NOT_FOUND,
        Json(Refusal::new("no such resource")),
    )
}

async fn wrong_method() -> (StatusCode, Json<Refusal>) {
    let refusal = Refusal::new("this resource has no such method");
    (StatusCode::METHOD_NOT_ALLOWED, Json(refusal))
}
