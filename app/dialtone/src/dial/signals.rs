//! Ctrl-C, and other ways to ask a program to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often we have been asked to end.
#[derive(Clone, Debug)]
pub(super) struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// From now on SIGINT, SIGTERM and SIGHUP are counted and end nothing.
    pub(super) fn catch() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("signals can't be caught")?;
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let caught = runtime.block_on(async { kinds.map(signal) });
        let [interrupt, terminate, hangup] = caught;
        let mut streams = [interrupt?, terminate?, hangup?];
        let count = Arc::new(AtomicUsize::new(0));
        let signals = Self(Arc::clone(&count));
        // It ends with the process.
        thread::spawn(move || {
            while runtime.block_on(next(&mut streams)) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(signals)
    }

    /// How often.
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Waits for one of them; false if none can come any more.
async fn next([one, two, three]: &mut [Signal; 3]) -> bool {
    let came = tokio::select! {
        came = one.recv() => came,
        came = two.recv() => came,
        came = three.recv() => came,
    };
    came.is_some()
}
