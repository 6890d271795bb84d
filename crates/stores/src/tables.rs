//! Typed tables with partition and clustering keys, after Cassandra's model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Result;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CellKind {
    /// UTF-8 text.
    Text,
    /// 64-bit integer.
    Int,
    /// 64-bit float; finite.
    Float,
    /// True or false.
    Bool,
    /// Milliseconds since the epoch.
    Timestamp,
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer, or a time in milliseconds.
    Int(i64),
    /// A finite float.
    Float(f64),
    /// A text.
    Text(String),
}

impl Cell {
    /// Its text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Its integer or time, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// Its number, integer or not.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Int(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// Whether it can stand in a column of this type.
    pub(crate) fn fits(&self, kind: CellKind) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(_) => kind == CellKind::Bool,
            Self::Int(_) => matches!(kind, CellKind::Int | CellKind::Timestamp | CellKind::Float),
            Self::Float(number) => kind == CellKind::Float && number.is_finite(),
            Self::Text(_) => kind == CellKind::Text,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Int(i64::from(number))
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<Cell> for Value {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Bool(value) => Self::Bool(value),
            Cell::Int(number) => Self::from(number),
            Cell::Float(number) => Self::from(number),
            Cell::Text(text) => Self::String(text),
        }
    }
}

/// Cells by column. A column that is absent is left as it is by an upsert, as in Cassandra.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Row(pub BTreeMap<String, Cell>);

impl Row {
    /// An empty row.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a cell.
    pub fn with(mut self, column: impl Into<String>, cell: impl Into<Cell>) -> Self {
        self.0.insert(column.into(), cell.into());
        self
    }

    /// The cell of a column; null where there is none.
    pub fn get(&self, column: &str) -> &Cell {
        self.0.get(column).unwrap_or(&Cell::Null)
    }

    /// As a JSON object.
    pub fn into_json(self) -> Value {
        Value::Object(self.0.into_iter().map(|(column, cell)| (column, cell.into())).collect())
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Letters, digits, `_`, `-`.
    pub name: String,
    /// Its type.
    pub kind: CellKind,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// As the clustering order of the schema says.
    Clustering,
    /// The other way round.
    Reversed,
}

/// A table: `PRIMARY KEY ((partition...), clustering...)`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// Its name.
    pub name: String,
    /// Rows that have these in common lie together.
    pub partition: Vec<Column>,
    /// The order within a partition; `true`: descending.
    pub clustering: Vec<(Column, bool)>,
    /// The other columns.
    pub columns: Vec<Column>,
}

impl TableSchema {
    /// A table without columns yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds a partition column.
    pub fn partition(mut self, name: &str, kind: CellKind) -> Self {
        self.partition.push(Column { name: name.to_owned(), kind });
        self
    }

    /// Adds an ascending clustering column.
    pub fn ascending(mut self, name: &str, kind: CellKind) -> Self {
        self.clustering.push((Column { name: name.to_owned(), kind }, false));
        self
    }

    /// Adds a descending clustering column.
    pub fn descending(mut self, name: &str, kind: CellKind) -> Self {
        self.clustering.push((Column { name: name.to_owned(), kind }, true));
        self
    }

    /// Adds a column.
    pub fn column(mut self, name: &str, kind: CellKind) -> Self {
        self.columns.push(Column { name: name.to_owned(), kind });
        self
    }

    /// The columns of the primary key, in order.
    pub fn key(&self) -> impl Iterator<Item = &Column> {
        self.partition.iter().chain(self.clustering.iter().map(|(column, _)| column))
    }

    /// All columns: key first.
    pub fn all(&self) -> impl Iterator<Item = &Column> {
        self.key().chain(&self.columns)
    }
}

/// Tables. Usable from several threads.
pub trait Tables: Send + Sync {
    /// Creates a table, or adds the columns that it lacks. Its key cannot change.
    fn declare_table(&self, schema: &TableSchema) -> Result<()>;
    /// Writes rows, all or none; returns how many were written.
    fn upsert_rows(&self, table: &str, rows: &[Row]) -> Result<u64>;
    /// The row of a whole primary key.
    fn get_row(&self, table: &str, key: &[Cell]) -> Result<Option<Row>>;
    /// Rows of one partition, in clustering order or reversed.
    fn scan(&self, table: &str, partition: &[Cell], order: Order, limit: u64) -> Result<Vec<Row>>;
    /// Rows of all partitions, in an order that is the store's own. For small tables.
    fn scan_all(&self, table: &str, limit: u64) -> Result<Vec<Row>>;
    /// How many rows there are.
    fn count_rows(&self, table: &str) -> Result<u64>;
    /// Deletes rows by whole primary keys; returns how many were there.
    fn delete_rows(&self, table: &str, keys: &[Vec<Cell>]) -> Result<u64>;
    /// All tables, sorted by name.
    fn tables(&self) -> Result<Vec<TableSchema>>;
}

/// The first rows of a table whose only partition column is a bucket of time, from `newest` backwards over at most `buckets` buckets: what
/// "the last 10 of all partitions" needs where the store cannot order across partitions.
pub fn read_buckets_backwards(
    tables: &dyn Tables,
    table: &str,
    newest: i64,
    buckets: u32,
    limit: u64,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for back in 0..i64::from(buckets) {
        let left = limit.saturating_sub(rows.len() as u64);
        if left == 0 {
            break;
        }
        rows.extend(tables.scan(
            table,
            &[Cell::Int(newest.saturating_sub(back))],
            Order::Clustering,
            left,
        )?);
    }
    Ok(rows)
}

/// The tables of the users platform's keyspace: `random_user_table`, `country_stats`, `latest_users`. A bucket of `latest_users` is
/// an hour since the epoch.
pub fn random_user_keyspace() -> [TableSchema; 3] {
    use CellKind::{Float, Int, Text, Timestamp};
    let user = |schema: TableSchema| {
        ["full_name", "gender", "country", "city", "email", "phone", "nationality", "registered", "picture"]
            .into_iter()
            .fold(schema, |schema, name| schema.column(name, Text))
            .column("age", Int)
    };
    [
        user(
            TableSchema::new("random_user_table")
                .partition("user_id", Text)
                .ascending("ingestion_time", Timestamp),
        ),
        TableSchema::new("country_stats")
            .partition("country", Text)
            .column("count_users", Int)
            .column("avg_age", Float)
            .column("last_update", Timestamp),
        user(
            TableSchema::new("latest_users")
                .partition("bucket", Int)
                .descending("ingestion_time", Timestamp)
                .ascending("user_id", Text),
        ),
    ]
}
