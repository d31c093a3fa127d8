//! Settings for one run: `--set KEY=VALUE` and `DIALTONE_SECTION__KEY`.

use std::sync::Arc;

use super::document::{Kind, Origin, Source, Table, Value};
use super::report::{Fault, Report};

/// One setting from outside the files.
#[derive(Clone, Debug)]
pub(crate) struct Override {
    source: Arc<Source>,
    path: String,
    /// TOML, or a bare string.
    value: String,
}

impl Override {
    /// From the argument of `--set`.
    pub(crate) fn from_option(argument: &str) -> Result<Self, String> {
        let (path, value) = argument
            .split_once('=')
            .ok_or("write it as KEY=VALUE, for example media.ports=20000-20999")?;
        if !path.contains('.') {
            return Err(format!("“{path}” is no setting; write SECTION.KEY=VALUE"));
        }
        Ok(Self {
            source: Arc::new(Source::Option(format!("--set {path}"))),
            path: path.trim().to_owned(),
            value: value.trim().to_owned(),
        })
    }

    /// All that the environment holds, in alphabetical order.
    pub(crate) fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Vec<Self> {
        let mut found: Vec<_> = variables
            .filter_map(|(name, value)| Self::from_variable(&name, value))
            .collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    fn from_variable(name: &str, value: String) -> Option<Self> {
        let key = name.strip_prefix("DIALTONE_")?;
        let path = key.contains("__").then(|| key.replace("__", "."))?;
        Some(Self {
            source: Arc::new(Source::Variable(name.to_owned())),
            path: path.to_ascii_lowercase(),
            value,
        })
    }

    fn parse(&self) -> Value {
        let parsed = Table::parse(&format!("value = {}", self.value), &self.source).ok();
        let value = parsed
            .filter(|table| table.entries.len() == 1)
            .and_then(|mut table| table.take("value"));
        match value {
            Some((_, value)) => value,
            None => Value {
                origin: Origin::start(&self.source),
                kind: Kind::Text(self.value.clone()),
            },
        }
    }
}

/// Puts each override into the table of its file: later ones win.
pub(crate) fn apply(
    overrides: &[Override],
    server: &mut Table,
    users: &mut Table,
    trunks: &mut Table,
    report: &Report,
) {
    for one in overrides {
        let path: Vec<_> = one.path.split('.').collect();
        match path[0] {
            "extension" => {
                let message = "the dial plan is a list and can't be set in part";
                let fault = Fault::new(message, "edit etc/dialplan.toml");
                report.error(&one.path, &Origin::start(&one.source), fault);
            }
            "trunk" => trunks.set(&path, one.parse()),
            "user" => users.set(&path, one.parse()),
            _ => server.set(&path, one.parse()),
        }
    }
}
