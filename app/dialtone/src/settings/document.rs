//! TOML as a tree whose every value knows where it was written.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use toml_edit::{Document, Item};

/// A text that settings come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file.
    File {
        /// Its path, as shown to people.
        path: PathBuf,
        /// Its content.
        text: String,
    },
    /// A command-line option, as it was given.
    Option(String),
    /// The name of an environment variable.
    Variable(String),
}

/// A part of a source.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) source: Arc<Source>,
    /// Octets of a file's text.
    pub(crate) span: Range<usize>,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) origin: Origin,
    pub(crate) kind: Kind,
}

/// A value without its place.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Date,
    List(Vec<Value>),
    Table(Table),
}

/// Keys and values in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) origin: Origin,
    pub(crate) entries: Vec<(Key, Value)>,
}

/// A key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) origin: Origin,
}

/// A text that is not TOML.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) origin: Origin,
    pub(crate) message: String,
}

impl Origin {
    /// The beginning of a source.
    pub(crate) fn start(source: &Arc<Source>) -> Self {
        Self {
            source: Arc::clone(source),
            span: 0..0,
        }
    }

    fn at(source: &Arc<Source>, span: Option<Range<usize>>) -> Self {
        Self {
            source: Arc::clone(source),
            span: span.unwrap_or(0..0),
        }
    }
}

impl Kind {
    /// What it is, for people.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Table {
    /// Reads a text of TOML.
    pub(crate) fn parse(text: &str, source: &Arc<Source>) -> Result<Self, SyntaxError> {
        let document = Document::parse(text).map_err(|error| SyntaxError {
            origin: Origin::at(source, error.span()),
            message: error.message().lines().collect::<Vec<_>>().join("; "),
        })?;
        Ok(Self {
            origin: Origin::start(source),
            entries: entries(document.as_table(), source),
        })
    }

    /// Takes the value of `name` out.
    pub(crate) fn take(&mut self, name: &str) -> Option<(Key, Value)> {
        let place = self.entries.iter().position(|(key, _)| key.name == name)?;
        Some(self.entries.remove(place))
    }

    /// Sets the value at a path of keys, whatever was there.
    pub(crate) fn set(&mut self, path: &[&str], value: Value) {
        let Some((name, rest)) = path.split_first() else {
            return;
        };
        let origin = value.origin.clone();
        let value = if rest.is_empty() {
            value
        } else {
            let mut table = match self.take(name) {
                Some((
                    _,
                    Value {
                        kind: Kind::Table(table),
                        ..
                    },
                )) => table,
                _ => Self {
                    origin: origin.clone(),
                    entries: Vec::new(),
                },
            };
            table.set(rest, value);
            Value {
                origin: table.origin.clone(),
                kind: Kind::Table(table),
            }
        };
        drop(self.take(name));
        let name = (*name).to_owned();
        self.entries.push((Key { name, origin }, value));
    }
}

fn entries(table: &toml_edit::Table, source: &Arc<Source>) -> Vec<(Key, Value)> {
    let names = table.iter().map(|(name, _)| name);
    let pairs = names.filter_map(|name| table.get_key_value(name));
    pairs
        .filter_map(|(key, item)| entry(key, item, source))
        .collect()
}

fn entry(key: &toml_edit::Key, item: &Item, source: &Arc<Source>) -> Option<(Key, Value)> {
    let origin = Origin::at(source, key.span());
    let value_origin = Origin::at(source, item.span().or(key.span()));
    let kind = match item {
        Item::None => return None,
        Item::Value(value) => kind(value, source),
        Item::Table(table) => Kind::Table(Table {
            origin: value_origin.clone(),
            entries: entries(table, source),
        }),
        Item::ArrayOfTables(tables) => {
            Kind::List(tables.iter().map(|t| table_value(t, source)).collect())
        }
    };
    let name = key.get().to_owned();
    let value = Value {
        origin: value_origin,
        kind,
    };
    Some((Key { name, origin }, value))
}

fn table_value(table: &toml_edit::Table, source: &Arc<Source>) -> Value {
    let origin = Origin::at(source, table.span());
    Value {
        origin: origin.clone(),
        kind: Kind::Table(Table {
            origin,
            entries: entries(table, source),
        }),
    }
}

fn kind(value: &toml_edit::Value, source: &Arc<Source>) -> Kind {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => Kind::Text(text.value().clone()),
        Toml::Integer(number) => Kind::Integer(*number.value()),
        Toml::Float(number) => Kind::Float(*number.value()),
        Toml::Boolean(value) => Kind::Boolean(*value.value()),
        Toml::Datetime(_) => Kind::Date,
        Toml::Array(array) => Kind::List(array.iter().map(|v| element(v, source)).collect()),
        Toml::InlineTable(table) => Kind::Table(Table {
            origin: Origin::at(source, table.span()),
            entries: inline_entries(table, source),
        }),
    }
}

fn element(value: &toml_edit::Value, source: &Arc<Source>) -> Value {
    Value {
        origin: Origin::at(source, value.span()),
        kind: kind(value, source),
    }
}

fn inline_entries(table: &toml_edit::InlineTable, source: &Arc<Source>) -> Vec<(Key, Value)> {
    let names = table.iter().map(|(name, _)| name);
    let pairs = names.filter_map(|name| table.get_key_value(name));
    pairs
        .filter_map(|(key, item)| entry(key, item, source))
        .collect()
}
