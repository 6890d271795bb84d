//! Collections in SQLite: one table each, one column an index.
//!
//! Index columns and the folded search text are filled by this program, not by SQLite's JSON functions: sorting and searching then read
//! an index alone, never the documents, and text is folded by Unicode's rules, not by ASCII's.

use std::sync::{Arc, PoisonError};

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter};
use serde_json::Value;

use super::SqliteStore;
use crate::documents::{is_name, is_path};
use crate::{CollectionSpec, Document, Documents, Op, Page, Query, Result, StoreError};

/// Separates the fields in the search text; no word contains it.
const SEPARATOR: char = '\u{1f}';

fn table(collection: &str) -> String {
    format!("\"d:{collection}\"")
}

fn column(path: &str) -> String {
    format!("\"k:{path}\"")
}

fn at<'v>(doc: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(doc, |value, name| value.get(name))
}

/// A JSON value as a key: lists and objects have none.
fn key(value: Option<&Value>) -> Sql {
    match value {
        Some(Value::Bool(value)) => Sql::Integer(i64::from(*value)),
        Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Sql::Integer(number),
            (None, Some(number)) => Sql::Real(number),
            (None, None) => Sql::Null,
        },
        Some(Value::String(text)) => Sql::Text(text.clone()),
        _ => Sql::Null,
    }
}

fn folded(spec: &CollectionSpec, doc: &Value) -> Option<String> {
    if spec.search.is_empty() {
        return None;
    }
    let mut text = String::new();
    for path in &spec.search {
        match at(doc, path) {
            Some(Value::String(value)) => text.push_str(&value.to_lowercase()),
            Some(value @ Value::Number(_)) => text.push_str(&value.to_string()),
            _ => {}
        }
        text.push(SEPARATOR);
    }
    Some(text)
}

impl SqliteStore {
    pub(super) fn ensure_collection(&self, name: &str) -> Result<Arc<CollectionSpec>> {
        if let Some(spec) = self.collection(name) {
            return Ok(spec);
        }
        self.declare_collection(&CollectionSpec::new(name))?;
        self.collection(name).ok_or_else(|| StoreError::InvalidSchema {
            name: name.to_owned(),
            reason: String::from("it vanished while it was being created"),
        })
    }

    pub(super) fn put_document(
        &self,
        transaction: &Transaction<'_>,
        collection: &str,
        id: &str,
        doc: &Value,
        version: Option<i64>,
    ) -> Result<u64> {
        let Some(spec) = self.collection(collection) else {
            return Err(StoreError::InvalidQuery {
                name: collection.to_owned(),
                reason: String::from("the collection is not declared"),
            });
        };
        let text = serde_json::to_string(doc).map_err(|error| StoreError::BadRecord {
            name: collection.to_owned(),
            reason: error.to_string(),
        })?;
        let mut names = String::from("id, version, doc, search");
        let mut places = String::from("?1, ?2, ?3, ?4");
        let mut sets =
            String::from("version = excluded.version, doc = excluded.doc, search = excluded.search");
        let mut values = vec![
            Sql::Text(id.to_owned()),
            version.map_or(Sql::Null, Sql::Integer),
            Sql::Text(text),
            folded(&spec, doc).map_or(Sql::Null, Sql::Text),
        ];
        for path in &spec.indexes {
            let column = column(path);
            values.push(key(at(doc, path)));
            names.push_str(&format!(", {column}"));
            places.push_str(&format!(", ?{}", values.len()));
            sets.push_str(&format!(", {column} = excluded.{column}"));
        }
        let table = table(collection);
        let sql = format!(
            "INSERT INTO {table}({names}) VALUES ({places}) ON CONFLICT(id) DO UPDATE SET {sets}
             WHERE excluded.version IS NULL OR {table}.version IS NULL OR excluded.version >= {table}.version"
        );
        let mut statement = transaction.prepare_cached(&sql).map_err(|error| self.failed(error))?;
        let changed = statement.execute(params_from_iter(values)).map_err(|error| self.failed(error))?;
        Ok(changed as u64)
    }

    pub(super) fn delete_document(
        &self,
        transaction: &Transaction<'_>,
        collection: &str,
        id: &str,
        version: Option<i64>,
    ) -> Result<u64> {
        if self.collection(collection).is_none() {
            return Ok(0);
        }
        let sql = format!(
            "DELETE FROM {} WHERE id = ?1 AND (?2 IS NULL OR version IS NULL OR version <= ?2)",
            table(collection)
        );
        let mut statement = transaction.prepare_cached(&sql).map_err(|error| self.failed(error))?;
        Ok(statement.execute(params![id, version]).map_err(|error| self.failed(error))? as u64)
    }

    /// The WHERE clause of a query, and its parameters.
    fn clause(&self, spec: &CollectionSpec, query: &Query) -> Result<(String, Vec<Sql>)> {
        let mut clauses: Vec<String> = Vec::new();
        let mut values: Vec<Sql> = Vec::new();
        for filter in &query.filters {
            let place = self.expression(spec, &filter.field)?;
            match &filter.op {
                Op::Eq(Value::Null) => clauses.push(format!("{place} IS NULL")),
                Op::Ne(Value::Null) => clauses.push(format!("{place} IS NOT NULL")),
                Op::In(choices) => {
                    let marks = vec!["?"; choices.len()].join(", ");
                    clauses.push(format!("{place} IN ({marks})"));
                    values.extend(choices.iter().map(|choice| key(Some(choice))));
                }
                Op::Eq(value) | Op::Ne(value) | Op::Gt(value) | Op::Lt(value) => {
                    let value = key(Some(value));
                    if value == Sql::Null {
                        return Err(StoreError::InvalidQuery {
                            name: spec.name.clone(),
                            reason: format!(
                                "{} is compared with a list or an object; compare with one value",
                                filter.field
                            ),
                        });
                    }
                    // A number is not compared with a text: SQLite would order all numbers before all texts.
                    let same = match &value {
                        Sql::Text(_) => "'text'",
                        _ => "'integer', 'real'",
                    };
                    let guard = format!("typeof({place}) IN ({same})");
                    clauses.push(match filter.op {
                        Op::Gt(_) => format!("({place} > ? AND {guard})"),
                        Op::Lt(_) => format!("({place} < ? AND {guard})"),
                        Op::Ne(_) => format!("{place} IS NOT ?"),
                        _ => format!("{place} = ?"),
                    });
                    values.push(value);
                }
            }
        }
        let text = query.search.as_deref().unwrap_or_default().to_lowercase();
        for word in text.split_whitespace() {
            if spec.search.is_empty() {
                return Err(StoreError::InvalidQuery {
                    name: spec.name.clone(),
                    reason: String::from("it has no search fields; declare them with CollectionSpec::search"),
                });
            }
            clauses.push(String::from("instr(search, ?) > 0"));
            values.push(Sql::Text(word.to_owned()));
        }
        let clause =
            if clauses.is_empty() { String::new() } else { format!("WHERE {}", clauses.join(" AND ")) };
        Ok((clause, values))
    }

    /// The column of an indexed path, otherwise SQLite's own look into the document.
    fn expression(&self, spec: &CollectionSpec, path: &str) -> Result<String> {
        if !is_path(path) {
            return Err(StoreError::InvalidQuery {
                name: spec.name.clone(),
                reason: format!("`{path}` is not a field path; write names with dots between them"),
            });
        }
        if spec.indexes.iter().any(|index| index == path) {
            return Ok(column(path));
        }
        let steps: Vec<String> = path.split('.').map(|step| format!("\"{step}\"")).collect();
        Ok(format!("json_extract(doc, '$.{}')", steps.join(".")))
    }

    fn count(&self, reader: &Connection, name: &str, clause: &str, values: &[Sql]) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {} {clause}", table(name));
        let mut statement = reader.prepare_cached(&sql).map_err(|error| self.failed(error))?;
        let total: i64 = statement
            .query_row(params_from_iter(values), |row| row.get(0))
            .map_err(|error| self.failed(error))?;
        Ok(u64::try_from(total).unwrap_or(0))
    }

    fn document(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, Option<i64>, String)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    }

    fn parsed(&self, (id, version, text): (String, Option<i64>, String)) -> Result<Document> {
        let doc = serde_json::from_str(&text).map_err(|error| StoreError::Corrupt {
            place: self.path.display().to_string(),
            reason: format!("document `{id}` is not JSON: {error}"),
        })?;
        Ok(Document { id, doc, version })
    }
}

impl Documents for SqliteStore {
    fn declare_collection(&self, spec: &CollectionSpec) -> Result<()> {
        let invalid = |reason: String| StoreError::InvalidSchema { name: spec.name.clone(), reason };
        if !spec.name.split('.').all(is_name) {
            return Err(invalid(String::from("names have letters, digits, `_`, `-`, `.`")));
        }
        if let Some(path) = spec.indexes.iter().chain(&spec.search).find(|path| !is_path(path)) {
            return Err(invalid(format!("`{path}` is not a field path; write names with dots between them")));
        }
        if self.collection(&spec.name).is_some_and(|known| *known == *spec) {
            return Ok(());
        }
        let table = table(&spec.name);
        self.write(|transaction| {
            let failed = |error| self.failed(error);
            transaction
                .execute_batch(&format!(
                    "CREATE TABLE IF NOT EXISTS {table}(id TEXT PRIMARY KEY, version INTEGER, doc TEXT NOT NULL, search TEXT)"
                ))
                .map_err(failed)?;
            let old = self.collection(&spec.name).unwrap_or_else(|| Arc::new(CollectionSpec::new(spec.name.clone())));
            for path in &old.indexes {
                transaction.execute_batch(&format!("DROP INDEX IF EXISTS \"i:{}:{path}\"", spec.name)).map_err(failed)?;
                if !spec.indexes.contains(path) {
                    transaction.execute_batch(&format!("ALTER TABLE {table} DROP COLUMN {}", column(path))).map_err(failed)?;
                }
            }
            for path in spec.indexes.iter().filter(|path| !old.indexes.contains(path)) {
                transaction.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {}", column(path))).map_err(failed)?;
            }
            self.fill(transaction, spec)?;
            for path in &spec.indexes {
                // With id and search text in it, sorting, searching and counting need nothing but the index.
                let sql = format!(
                    "CREATE INDEX IF NOT EXISTS \"i:{}:{path}\" ON {table}({}, id, search)",
                    spec.name,
                    column(path)
                );
                transaction.execute_batch(&sql).map_err(failed)?;
            }
            let text = serde_json::to_string(spec).map_err(|error| invalid(error.to_string()))?;
            transaction
                .execute("INSERT INTO collections VALUES (?1, ?2) ON CONFLICT DO UPDATE SET spec = excluded.spec", params![
                    spec.name, text
                ])
                .map_err(failed)
        })?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.collections.insert(spec.name.clone(), Arc::new(spec.clone()));
        Ok(())
    }

    fn upsert_many(&self, collection: &str, documents: &[Document]) -> Result<u64> {
        self.ensure_collection(collection)?;
        self.write(|transaction| {
            documents.iter().try_fold(0, |sum, document| {
                let Document { id, doc, version } = document;
                Ok(sum + self.put_document(transaction, collection, id, doc, *version)?)
            })
        })
    }

    fn get_document(&self, collection: &str, id: &str) -> Result<Option<Document>> {
        if self.collection(collection).is_none() {
            return Ok(None);
        }
        self.read(|reader| {
            let sql = format!("SELECT id, version, doc FROM {} WHERE id = ?1", table(collection));
            let mut statement = reader.prepare_cached(&sql).map_err(|error| self.failed(error))?;
            let found = statement.query_row([id], |row| self.document(row)).optional();
            found.map_err(|error| self.failed(error))?.map(|found| self.parsed(found)).transpose()
        })
    }

    fn find(&self, collection: &str, query: &Query) -> Result<Page> {
        let Some(spec) = self.collection(collection) else { return Ok(Page::default()) };
        let (clause, mut values) = self.clause(&spec, query)?;
        let order = match &query.sort {
            None => String::from("id"),
            Some(sort) => {
                let direction = if sort.descending { "DESC" } else { "ASC" };
                format!("{} {direction}, id {direction}", self.expression(&spec, &sort.field)?)
            }
        };
        self.read(|reader| {
            let failed = |error| self.failed(error);
            let total = self.count(reader, collection, &clause, &values)?;
            if query.limit == 0 || query.offset >= total {
                return Ok(Page { total, items: Vec::new() });
            }
            // First which, from the index alone, then the documents of this page.
            let table = table(collection);
            let sql = format!("SELECT rowid FROM {table} {clause} ORDER BY {order} LIMIT ? OFFSET ?");
            values.push(Sql::Integer(i64::try_from(query.limit).unwrap_or(i64::MAX)));
            values.push(Sql::Integer(i64::try_from(query.offset).unwrap_or(i64::MAX)));
            let mut which = reader.prepare_cached(&sql).map_err(failed)?;
            let rows =
                which.query_map(params_from_iter(&values), |row| row.get::<_, i64>(0)).map_err(failed)?;
            let sql = format!("SELECT id, version, doc FROM {table} WHERE rowid = ?1");
            let mut one = reader.prepare_cached(&sql).map_err(failed)?;
            let mut items = Vec::new();
            for rowid in rows {
                let rowid = rowid.map_err(failed)?;
                items.push(self.parsed(one.query_row([rowid], |row| self.document(row)).map_err(failed)?)?);
            }
            Ok(Page { total, items })
        })
    }

    fn count_documents(&self, collection: &str, query: &Query) -> Result<u64> {
        let Some(spec) = self.collection(collection) else { return Ok(0) };
        let (clause, values) = self.clause(&spec, query)?;
        self.read(|reader| self.count(reader, collection, &clause, &values))
    }

    fn delete_documents(&self, collection: &str, ids: &[&str]) -> Result<u64> {
        self.write(|transaction| {
            ids.iter()
                .try_fold(0, |sum, id| Ok(sum + self.delete_document(transaction, collection, id, None)?))
        })
    }

    fn collections(&self) -> Result<Vec<String>> {
        Ok(self.known.read().unwrap_or_else(PoisonError::into_inner).collections.keys().cloned().collect())
    }
}

impl SqliteStore {
    /// Computes index columns and search text of all documents anew, after a change of the specification.
    fn fill(&self, transaction: &Transaction<'_>, spec: &CollectionSpec) -> Result<()> {
        const AT_ONCE: i64 = 1_000;
        let failed = |error| self.failed(error);
        let table = table(&spec.name);
        let sets: Vec<String> = std::iter::once(String::from("search = ?2"))
            .chain(spec.indexes.iter().enumerate().map(|(n, path)| format!("{} = ?{}", column(path), n + 3)))
            .collect();
        let mut select = transaction
            .prepare(&format!(
                "SELECT rowid, doc FROM {table} WHERE rowid > ?1 ORDER BY rowid LIMIT {AT_ONCE}"
            ))
            .map_err(failed)?;
        let mut update = transaction
            .prepare(&format!("UPDATE {table} SET {} WHERE rowid = ?1", sets.join(", ")))
            .map_err(failed)?;
        let mut after = i64::MIN;
        loop {
            let rows = select
                .query_map([after], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
                .map_err(failed)?;
            let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>().map_err(failed)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = *last;
            for (rowid, text) in rows {
                let doc: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                let mut values = vec![Sql::Integer(rowid), folded(spec, &doc).map_or(Sql::Null, Sql::Text)];
                values.extend(spec.indexes.iter().map(|path| key(at(&doc, path))));
                update.execute(params_from_iter(values)).map_err(failed)?;
            }
        }
    }
}
