//! Logging to standard error.

use anyhow::{Context, Result, anyhow};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

use crate::settings::server::{Format, Level, Log};
use crate::systemd::{self, Journal};

/// The running log, whose level can be changed.
#[derive(Clone, Debug)]
pub(crate) struct Logging {
    filter: reload::Handle<Targets, Registry>,
}

impl Logging {
    /// Starts logging for the whole process.
    pub(crate) fn start(log: Log) -> Result<Self> {
        base::pii::show(log.personal);
        let (filter, handle) = reload::Layer::new(filter(log)?);
        let registry = tracing_subscriber::registry().with(filter);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let started = match (log.format, systemd::has_journal()) {
            (Format::Json, false) => registry.with(lines.json().flatten_event(true)).try_init(),
            (Format::Json, true) => {
                let lines = lines.with_writer(Journal).json().flatten_event(true);
                registry.with(lines).try_init()
            }
            (Format::Text, false) => {
                let colours = crate::terminal::colours(&std::io::stderr());
                registry.with(lines.with_ansi(colours)).try_init()
            }
            (Format::Text, true) => {
                let lines = lines.with_writer(Journal).with_ansi(false);
                registry.with(lines.without_time()).try_init()
            }
        };
        started.context("logging can't be started")?;
        std::panic::set_hook(Box::new(|panic| {
            tracing::error!("{}", panic.to_string().replace('\n', " "));
        }));
        Ok(Self { filter: handle })
    }

    /// Follows a changed configuration, but for the format.
    pub(crate) fn change(&self, log: Log) -> Result<()> {
        base::pii::show(log.personal);
        let filter = filter(log)?;
        self.filter
            .reload(filter)
            .context("the log level can't be changed")
    }
}

/// `RUST_LOG` comes first, then `SYSLOG_LEVEL`, then the configuration.
fn filter(log: Log) -> Result<Targets> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(directives) = variable("RUST_LOG") {
        return directives
            .parse()
            .map_err(|error| anyhow!("RUST_LOG: {error}; write it like info or engine=debug"));
    }
    let level = match variable("SYSLOG_LEVEL") {
        Some(text) => syslog(&text)?,
        None => log.level.into(),
    };
    Ok(Targets::new().with_default(level))
}

/// Like `syslogd -l`: what is more urgent than this severity is logged, so 0 is nothing and 8 is
/// all, debugging included.
///
/// # Source
/// RFC 5424 §6.2.1, table 2.
fn syslog(text: &str) -> Result<LevelFilter> {
    match text.parse() {
        Ok(0) => Ok(LevelFilter::OFF),
        Ok(1..=4) => Ok(LevelFilter::ERROR),
        Ok(5..=6) => Ok(LevelFilter::WARN),
        Ok(7) => Ok(LevelFilter::INFO),
        Ok(8) => Ok(LevelFilter::DEBUG),
        _ => Err(anyhow!(
            "SYSLOG_LEVEL: “{text}” is no level; use 0 (nothing) to 8 (debugging)"
        )),
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syslog_levels_never_log_less_when_they_rise() {
        let levels: Vec<_> = (0..=8).map(|n| syslog(&n.to_string()).unwrap()).collect();
        assert!(levels.is_sorted());
        assert_eq!(
            (levels[0], levels[8]),
            (LevelFilter::OFF, LevelFilter::DEBUG)
        );
        for wrong in ["9", "-1", "debug", ""] {
            assert!(syslog(wrong).is_err(), "{wrong}");
        }
    }
}
