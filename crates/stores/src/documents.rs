//! Collections of JSON documents by id, after MongoDB's model.

use serde_json::Value;

use crate::Result;

/// A collection's name and what must be fast in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CollectionSpec {
    /// Letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// Field paths (`score.probability`) to sort and filter by without reading the documents.
    pub indexes: Vec<String>,
    /// Field paths whose text [`Query::search`] looks into.
    pub search: Vec<String>,
}

impl CollectionSpec {
    /// A collection without indexes.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds an index.
    pub fn index(mut self, path: impl Into<String>) -> Self {
        self.indexes.push(path.into());
        self
    }

    /// Sets the fields to search.
    pub fn search(mut self, paths: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.search = paths.into_iter().map(Into::into).collect();
        self
    }
}

/// A document and its identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its id: deterministic, so that writing it twice stores it once.
    pub id: String,
    /// Its content.
    pub doc: Value,
    /// How new it is (event time or offset). A document with a version replaces only one that is not newer.
    pub version: Option<i64>,
}

impl Document {
    /// A document that replaces whatever is there.
    pub fn new(id: impl Into<String>, doc: Value) -> Self {
        Self { id: id.into(), doc, version: None }
    }

    /// A document that replaces only what is not newer.
    pub fn versioned(id: impl Into<String>, doc: Value, version: i64) -> Self {
        Self { version: Some(version), ..Self::new(id, doc) }
    }
}

/// A comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Equal; to null: absent or null.
    Eq(Value),
    /// Not equal; absent fields are not equal to any value.
    Ne(Value),
    /// Greater.
    Gt(Value),
    /// Less.
    Lt(Value),
    /// One of these.
    In(Vec<Value>),
}

/// A field path and what its value must be.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// For example `score.verdict`.
    pub field: String,
    /// The comparison.
    pub op: Op,
}

/// The order of a result. Absent values count as the lowest; ties are ordered by id, in the same direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// Field path.
    pub field: String,
    /// Highest first.
    pub descending: bool,
}

/// What to find: all filters must hold. The default is the first 50 documents by id.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// All must hold.
    pub filters: Vec<Filter>,
    /// Each word must occur in one of the collection's search fields; case does not matter.
    pub search: Option<String>,
    /// The order; by id without.
    pub sort: Option<Sort>,
    /// How many to skip.
    pub offset: u64,
    /// How many at most.
    pub limit: u64,
}

impl Default for Query {
    fn default() -> Self {
        Self { filters: Vec::new(), search: None, sort: None, offset: 0, limit: 50 }
    }
}

impl Query {
    /// The first 50 documents by id.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a filter.
    pub fn filter(mut self, field: impl Into<String>, op: Op) -> Self {
        self.filters.push(Filter { field: field.into(), op });
        self
    }

    /// Keeps those whose field equals the value.
    pub fn eq(self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.filter(field, Op::Eq(value.into()))
    }

    /// Keeps those whose field is greater.
    pub fn gt(self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.filter(field, Op::Gt(value.into()))
    }

    /// Keeps those whose field is less.
    pub fn lt(self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.filter(field, Op::Lt(value.into()))
    }

    /// Keeps those in which each word of the text occurs. Blank: all.
    pub fn search(self, text: impl Into<String>) -> Self {
        Self { search: Some(text.into()), ..self }
    }

    /// Lowest first.
    pub fn ascending(self, field: impl Into<String>) -> Self {
        Self { sort: Some(Sort { field: field.into(), descending: false }), ..self }
    }

    /// Highest first.
    pub fn descending(self, field: impl Into<String>) -> Self {
        Self { sort: Some(Sort { field: field.into(), descending: true }), ..self }
    }

    /// Which part of the result.
    pub fn page(self, offset: u64, limit: u64) -> Self {
        Self { offset, limit, ..self }
    }
}

/// A part of a result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// How many there are in all.
    pub total: u64,
    /// The part asked for.
    pub items: Vec<Document>,
}

/// Collections of documents. Usable from several threads.
pub trait Documents: Send + Sync {
    /// Creates a collection, or brings its indexes to this specification.
    fn declare_collection(&self, spec: &CollectionSpec) -> Result<()>;
    /// Writes documents, all or none; returns how many were written (not older than what was there). The collection comes into being.
    fn upsert_many(&self, collection: &str, documents: &[Document]) -> Result<u64>;
    /// One document.
    fn get_document(&self, collection: &str, id: &str) -> Result<Option<Document>>;
    /// Documents by query. An unknown collection is empty.
    fn find(&self, collection: &str, query: &Query) -> Result<Page>;
    /// How many documents match; offset and limit do not count.
    fn count_documents(&self, collection: &str, query: &Query) -> Result<u64>;
    /// Deletes documents; returns how many were there.
    fn delete_documents(&self, collection: &str, ids: &[&str]) -> Result<u64>;
    /// All collections, sorted.
    fn collections(&self) -> Result<Vec<String>>;
}

/// Field paths are letters, digits, `_`, `-`, and dots between names.
pub(crate) fn is_path(path: &str) -> bool {
    !path.is_empty() && path.len() <= 200 && path.split('.').all(is_name)
}

/// Names of collections, tables and columns.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}
