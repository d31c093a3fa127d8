//! Reads a table key by key, and reports what is wrong, missing or unknown.

use super::document::{Kind, Origin, Table, Value};
use super::report::{Fault, Report, similar};

/// A table being read. Every key is read once; [`finish`](Self::finish) reports the rest.
pub(crate) struct Section<'r> {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    report: &'r Report,
}

impl<'r> Section<'r> {
    /// A top-level table, or one whose dotted path is `path`.
    pub(crate) fn new(path: impl Into<String>, table: Table, report: &'r Report) -> Self {
        Self {
            path: path.into(),
            table,
            known: Vec::new(),
            report,
        }
    }

    /// The value of `key` by `read`; `default` if it is absent or wrong, the latter reported.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value) -> Result<T, Fault>,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// The value of `key` by `read`, if it is there and right.
    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value) -> Result<T, Fault>,
    ) -> Option<T> {
        let value = self.take(key)?;
        read(&value)
            .map_err(|fault| self.error(key, &value.origin, fault))
            .ok()
    }

    /// Like [`optional`](Self::optional), but absence is an error with this remedy.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        remedy: &str,
        read: impl FnOnce(&Value) -> Result<T, Fault>,
    ) -> Option<T> {
        if !self.table.entries.iter().any(|(k, _)| k.name == key) {
            self.known.push(key);
            let origin = self.table.origin.clone();
            self.error(key, &origin, Fault::new("is missing", remedy));
            return None;
        }
        self.optional(key, read)
    }

    /// The table at `key`; an empty one if it is absent or no table.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'r> {
        let empty = Table {
            origin: self.table.origin.clone(),
            entries: Vec::new(),
        };
        let table = self.optional(key, table).unwrap_or(empty);
        Section::new(self.path_of(key), table, self.report)
    }

    /// Where the table is.
    pub(crate) fn origin(&self) -> &Origin {
        &self.table.origin
    }

    /// Reports keys that nobody has read.
    pub(crate) fn finish(self) {
        for (key, _) in &self.table.entries {
            let fault = Fault::new("there is no such setting", self.remedy(&key.name));
            self.report
                .error(&join(&self.path, &key.name), &key.origin, fault);
        }
    }

    /// Reports `fault` of `key`.
    pub(crate) fn error(&self, key: &str, origin: &Origin, fault: Fault) {
        self.report.error(&join(&self.path, key), origin, fault);
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.take(key).map(|(_, value)| value)
    }

    fn remedy(&self, name: &str) -> String {
        match similar(name, &self.known) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("remove it; there are {}", self.known.join(", ")),
        }
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

/// A value that has to be a table.
pub(crate) fn table(value: &Value) -> Result<Table, Fault> {
    match &value.kind {
        Kind::Table(table) => Ok(table.clone()),
        other => Err(expected("a table", other)),
    }
}

/// `other` is not what was expected.
pub(crate) fn expected(what: &str, other: &Kind) -> Fault {
    let message = format!("must be {what}, but is {}", other.describe());
    Fault::new(message, format!("give it {what}"))
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
