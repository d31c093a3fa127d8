//! What a server consists of, each part opened before any of them works.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use base::UnixTime;
use engine::{Bound, Tls};
use pbx::Command;
use store::{Bindings, CallLog, Journal, Lines, Publications};

use super::delivery::Delivery;
use super::mailroom::Mailroom;
use super::observer::Observer;
use super::trace::Hub;
use super::web::Web;
use super::{network, now, tls};
use crate::folder::Folder;
use crate::settings::Server;

/// The parts, in the order in which they are opened.
pub(super) struct Parts {
    pub(super) tls: Tls,
    pub(super) bound: Bound<Command>,
    pub(super) web: Web,
    pub(super) bindings: Arc<Bindings>,
    pub(super) journal: Arc<Journal>,
    pub(super) observer: Observer,
    pub(super) delivery: Arc<Delivery>,
    pub(super) mailroom: Arc<Mailroom>,
    pub(super) plane: media::Plane,
    pub(super) desk: resolver::Desk,
    pub(super) resolver: resolver::Task,
    pub(super) trace: Hub,
    /// None if it is off.
    pub(super) turn: Option<super::turn::Turn>,
}

impl Parts {
    /// Takes the ports, and reads what the folder keeps.
    ///
    /// # Errors
    /// Something of it can't be had.
    pub(super) fn open(folder: &Folder, server: &Server) -> Result<Self> {
        let tls = tls::load(folder, &server.tls, None)?;
        let bound = engine::bind::<Command>(network::engine_config(server, tls.clone()))?;
        let web = Web::bind(&server.http, network::has_ipv6())?;
        let (bindings, journal) = recover(folder)?;
        // Phones that were registered before are no strangers.
        bindings.for_each(|_, contacts| {
            let flows = contacts.iter().map(|contact| &contact.flow);
            flows.for_each(|flow| bound.handle().vouch(flow));
        });
        let call_log = CallLog::open(&folder.call_records(), server.calls.max_calls)
            .context("call records can't be kept")?;
        let observer = Observer::start(call_log)?;
        let delivery = Arc::new(Delivery::new(bound.handle().clone()));
        let mailroom = Arc::new(Mailroom::open(folder, Arc::clone(&delivery))?);
        let plane = media_plane(server, &delivery)?;
        let (desk, resolver) = {
            let delivery = Arc::clone(&delivery);
            let deliver = Arc::new(move |answer| delivery.answer(answer));
            resolver::resolver(server.dns.clone(), deliver)
        };
        let legs = Arc::clone(&observer.observed().legs);
        let trace = Hub::start(bound.handle().clone(), legs)?;
        trace.configure(&server.trace)?;
        let turn = super::turn::start(server)?;
        Ok(Self {
            tls,
            bound,
            web,
            bindings,
            journal,
            observer,
            delivery,
            mailroom,
            plane,
            desk,
            resolver,
            trace,
            turn,
        })
    }

    /// What the machines share; no call begins once `stopping` is set.
    pub(super) fn services(&self, stopping: &Arc<AtomicBool>) -> pbx::Services {
        let (journal, observed) = (Arc::clone(&self.journal), self.observer.observed());
        let stopping = Arc::clone(stopping);
        let listening = self.bound.listening().to_vec();
        let media = self.plane.handle();
        pbx::Services {
            bindings: Arc::clone(&self.bindings),
            lines: Arc::new(Lines::new()),
            mailboxes: Arc::clone(&self.mailroom.mailboxes),
            messages: Arc::clone(&self.mailroom.messages),
            publications: Arc::new(Publications::new()),
            watchers: Arc::clone(&self.mailroom.watchers),
            orbits: Arc::default(),
            rooms: Arc::default(),
            guesses: Arc::new(store::Guesses::new()),
            calls: Arc::new(AtomicUsize::new(0)),
            registrations_open: Arc::new(move || journal.healthy()),
            calls_open: Arc::new(move || observed.healthy() && !stopping.load(Relaxed)),
            way_out: Arc::new(move |protocol, remote| {
                network::way_out(&listening, protocol, remote)
            }),
            fingerprints: Arc::new(LazyLock::new(Box::new(move || fingerprints(&media)))),
        }
    }
}

/// What the certificates for DTLS are known by.
fn fingerprints(media: &media::Handle) -> Option<[sdp::bridge::Fingerprint; 2]> {
    let known = |which| media.fingerprint(which);
    let first = known(media::OwnCertificate::First);
    match first.and_then(|first| Ok([first, known(media::OwnCertificate::Second)?])) {
        Ok([first, second]) => {
            let described = media::agreement::fingerprint;
            Some([described(&first)?, described(&second)?])
        }
        Err(error) => {
            tracing::error!(%error, "no certificate for DTLS could be made: who needs one is not served");
            None
        }
    }
}

fn media_plane(server: &Server, delivery: &Arc<Delivery>) -> Result<media::Plane> {
    let delivery = Arc::clone(delivery);
    let deliver = Arc::new(move |event| delivery.media(event));
    let plane = media::Plane::start(network::media_config(server), deliver);
    let plane = plane.context("media ports can't be had")?;
    plane.handle().tune(server.sound.music());
    Ok(plane)
}

fn recover(folder: &Folder) -> Result<(Arc<Bindings>, Arc<Journal>)> {
    let path = folder.state();
    let (journal, records) =
        Journal::open(&path).with_context(|| format!("{} can't be used", path.display()))?;
    let bindings = Arc::new(Bindings::new());
    let strange = bindings.restore(&records, UnixTime(now()));
    if strange > 0 {
        tracing::warn!(records = strange, "some registrations were not understood");
    }
    if !bindings.is_empty() {
        tracing::info!(users = bindings.len(), "registrations restored");
    }
    journal.maintain(Arc::clone(&bindings))?;
    Ok((bindings, Arc::new(journal)))
}
