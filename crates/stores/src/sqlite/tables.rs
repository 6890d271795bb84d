//! Tables in SQLite: the primary key is the declared one, so that a partition's rows lie together in clustering order.

use std::sync::{Arc, PoisonError};

use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{OptionalExtension, Transaction, params, params_from_iter};

use super::SqliteStore;
use crate::documents::is_name;
use crate::{Cell, CellKind, Column, Order, Result, Row, StoreError, TableSchema, Tables};

/// Names of columns have no leading dash, so this one is free.
const VERSION: &str = "\"-version\"";

fn table(name: &str) -> String {
    format!("\"t:{name}\"")
}

fn quoted(column: &Column) -> String {
    format!("\"{}\"", column.name)
}

fn sql(cell: &Cell) -> Sql {
    match cell {
        Cell::Null => Sql::Null,
        Cell::Bool(value) => Sql::Integer(i64::from(*value)),
        Cell::Int(number) => Sql::Integer(*number),
        Cell::Float(number) => Sql::Real(*number),
        Cell::Text(text) => Sql::Text(text.clone()),
    }
}

fn cell(kind: CellKind, value: ValueRef<'_>) -> Cell {
    match (kind, value) {
        (CellKind::Bool, ValueRef::Integer(number)) => Cell::Bool(number != 0),
        (CellKind::Float, ValueRef::Integer(number)) => Cell::Float(number as f64),
        (_, ValueRef::Integer(number)) => Cell::Int(number),
        (_, ValueRef::Real(number)) => Cell::Float(number),
        (_, ValueRef::Text(bytes)) => Cell::Text(String::from_utf8_lossy(bytes).into_owned()),
        _ => Cell::Null,
    }
}

fn bad(schema: &TableSchema, reason: String) -> StoreError {
    StoreError::BadRecord { name: schema.name.clone(), reason }
}

impl SqliteStore {
    pub(super) fn put_row(
        &self,
        transaction: &Transaction<'_>,
        schema: &TableSchema,
        row: &Row,
        version: Option<i64>,
    ) -> Result<u64> {
        let (mut names, mut values, mut sets) = (Vec::new(), Vec::new(), Vec::new());
        for (position, column) in schema.all().enumerate() {
            let is_key = position < schema.partition.len() + schema.clustering.len();
            let Some(cell) = row.0.get(&column.name) else {
                if is_key {
                    return Err(bad(schema, format!("column {} of the key is missing", column.name)));
                }
                continue;
            };
            if !cell.fits(column.kind) {
                return Err(bad(
                    schema,
                    format!("column {} must be a finite {:?}", column.name, column.kind),
                ));
            }
            if is_key && *cell == Cell::Null {
                return Err(bad(schema, format!("column {} of the key is null", column.name)));
            }
            let name = quoted(column);
            if !is_key {
                sets.push(format!("{name} = excluded.{name}"));
            }
            names.push(name);
            values.push(sql(cell));
        }
        if let Some(other) = row.0.keys().find(|name| !schema.all().any(|column| column.name == **name)) {
            return Err(bad(schema, format!("there is no column {other}; declare it first")));
        }
        names.push(VERSION.to_owned());
        values.push(version.map_or(Sql::Null, Sql::Integer));
        sets.push(format!("{VERSION} = excluded.{VERSION}"));
        let table = table(&schema.name);
        let text = format!(
            "INSERT INTO {table}({}) VALUES ({}) ON CONFLICT DO UPDATE SET {}
             WHERE excluded.{VERSION} IS NULL OR {table}.{VERSION} IS NULL OR excluded.{VERSION} >= {table}.{VERSION}",
            names.join(", "),
            vec!["?"; names.len()].join(", "),
            sets.join(", ")
        );
        let mut statement = transaction.prepare_cached(&text).map_err(|error| self.failed(error))?;
        Ok(statement.execute(params_from_iter(values)).map_err(|error| self.failed(error))? as u64)
    }

    pub(super) fn delete_row(
        &self,
        transaction: &Transaction<'_>,
        schema: &TableSchema,
        key: &[Cell],
    ) -> Result<u64> {
        let (clause, values) = self.whole_key(schema, key)?;
        let text = format!("DELETE FROM {} WHERE {clause}", table(&schema.name));
        let mut statement = transaction.prepare_cached(&text).map_err(|error| self.failed(error))?;
        Ok(statement.execute(params_from_iter(values)).map_err(|error| self.failed(error))? as u64)
    }

    fn whole_key(&self, schema: &TableSchema, key: &[Cell]) -> Result<(String, Vec<Sql>)> {
        let columns: Vec<&Column> = schema.key().collect();
        self.equal(schema, &columns, key)
    }

    fn equal(&self, schema: &TableSchema, columns: &[&Column], cells: &[Cell]) -> Result<(String, Vec<Sql>)> {
        if columns.len() != cells.len() {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let reason = format!("{} values for the key ({})", cells.len(), names.join(", "));
            return Err(StoreError::InvalidQuery { name: schema.name.clone(), reason });
        }
        let clauses: Vec<String> = columns.iter().map(|column| format!("{} = ?", quoted(column))).collect();
        Ok((clauses.join(" AND "), cells.iter().map(sql).collect()))
    }

    fn select(&self, schema: &TableSchema, rest: &str, values: Vec<Sql>) -> Result<Vec<Row>> {
        let columns: Vec<&Column> = schema.all().collect();
        let names: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let text = format!("SELECT {} FROM {} {rest}", names.join(", "), table(&schema.name));
        self.read(|reader| {
            let mut statement = reader.prepare_cached(&text).map_err(|error| self.failed(error))?;
            let rows = statement
                .query_map(params_from_iter(values), |found| {
                    let mut row = Row::new();
                    for (index, column) in columns.iter().enumerate() {
                        let cell = cell(column.kind, found.get_ref(index)?);
                        if cell != Cell::Null {
                            row.0.insert(column.name.clone(), cell);
                        }
                    }
                    Ok(row)
                })
                .map_err(|error| self.failed(error))?;
            rows.collect::<rusqlite::Result<_>>().map_err(|error| self.failed(error))
        })
    }
}

fn kind(column: &Column) -> &'static str {
    match column.kind {
        CellKind::Text => "TEXT",
        CellKind::Float => "REAL",
        CellKind::Int | CellKind::Bool | CellKind::Timestamp => "INTEGER",
    }
}

fn check(schema: &TableSchema) -> Result<()> {
    let invalid = |reason: String| Err(StoreError::InvalidSchema { name: schema.name.clone(), reason });
    if !is_name(&schema.name) {
        return invalid(String::from("names have letters, digits, `_`, `-`"));
    }
    if schema.partition.is_empty() {
        return invalid(String::from("it has no partition column"));
    }
    let names: Vec<String> = schema.all().map(|column| column.name.to_lowercase()).collect();
    for (index, name) in names.iter().enumerate() {
        if !is_name(name) || name.starts_with('-') {
            return invalid(format!(
                "column `{name}`: names have letters, digits, `_`, `-`, and do not begin with `-`"
            ));
        }
        if names.iter().skip(index + 1).any(|other| other == name) {
            return invalid(format!("column `{name}` is there twice"));
        }
    }
    Ok(())
}

impl Tables for SqliteStore {
    fn declare_table(&self, schema: &TableSchema) -> Result<()> {
        check(schema)?;
        let known = self.table(&schema.name).ok();
        let mut merged = schema.clone();
        if let Some(known) = &known {
            if known.partition != schema.partition || known.clustering != schema.clustering {
                return Err(StoreError::InvalidSchema {
                    name: schema.name.clone(),
                    reason: String::from(
                        "its key differs from the stored one, and a key cannot change; choose another name",
                    ),
                });
            }
            // Columns that an older version of the program declared stay.
            merged.columns = known.columns.clone();
            for column in &schema.columns {
                match merged.columns.iter().find(|old| old.name == column.name) {
                    None => merged.columns.push(column.clone()),
                    Some(old) if old.kind == column.kind => {}
                    Some(old) => {
                        return Err(StoreError::InvalidSchema {
                            name: schema.name.clone(),
                            reason: format!(
                                "column {} is stored as {:?}, not {:?}",
                                old.name, old.kind, column.kind
                            ),
                        });
                    }
                }
            }
            if merged == **known {
                return Ok(());
            }
        }
        let table = table(&schema.name);
        self.write(|transaction| {
            let failed = |error| self.failed(error);
            if let Some(known) = &known {
                for column in merged.columns.iter().filter(|column| !known.columns.contains(column)) {
                    let text = format!("ALTER TABLE {table} ADD COLUMN {} {}", quoted(column), kind(column));
                    transaction.execute_batch(&text).map_err(failed)?;
                }
            } else {
                let columns: Vec<String> =
                    merged.all().map(|column| format!("{} {}", quoted(column), kind(column))).collect();
                let key: Vec<String> = merged
                    .partition
                    .iter()
                    .map(quoted)
                    .chain(merged.clustering.iter().map(|(column, descending)| {
                        format!("{} {}", quoted(column), if *descending { "DESC" } else { "ASC" })
                    }))
                    .collect();
                let text = format!(
                    "CREATE TABLE {table}({}, {VERSION} INTEGER, PRIMARY KEY({})) WITHOUT ROWID",
                    columns.join(", "),
                    key.join(", ")
                );
                transaction.execute_batch(&text).map_err(failed)?;
            }
            let spec = serde_json::to_string(&merged)
                .map_err(|error| StoreError::other("writing a schema", error))?;
            transaction
                .execute(
                    "INSERT INTO tables VALUES (?1, ?2) ON CONFLICT DO UPDATE SET spec = excluded.spec",
                    params![merged.name, spec],
                )
                .map_err(failed)
        })?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.tables.insert(merged.name.clone(), Arc::new(merged));
        Ok(())
    }

    fn upsert_rows(&self, table: &str, rows: &[Row]) -> Result<u64> {
        let schema = self.table(table)?;
        self.write(|transaction| {
            rows.iter().try_fold(0, |sum, row| Ok(sum + self.put_row(transaction, &schema, row, None)?))
        })
    }

    fn get_row(&self, table: &str, key: &[Cell]) -> Result<Option<Row>> {
        let schema = self.table(table)?;
        let (clause, values) = self.whole_key(&schema, key)?;
        Ok(self.select(&schema, &format!("WHERE {clause}"), values)?.pop())
    }

    fn scan(&self, table: &str, partition: &[Cell], order: Order, limit: u64) -> Result<Vec<Row>> {
        let schema = self.table(table)?;
        let columns: Vec<&Column> = schema.partition.iter().collect();
        let (clause, mut values) = self.equal(&schema, &columns, partition)?;
        let by: Vec<String> = schema
            .clustering
            .iter()
            .map(|(column, descending)| {
                let down = *descending != (order == Order::Reversed);
                format!("{} {}", quoted(column), if down { "DESC" } else { "ASC" })
            })
            .collect();
        let by = if by.is_empty() { String::new() } else { format!("ORDER BY {}", by.join(", ")) };
        values.push(Sql::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        self.select(&schema, &format!("WHERE {clause} {by} LIMIT ?"), values)
    }

    fn scan_all(&self, table: &str, limit: u64) -> Result<Vec<Row>> {
        let schema = self.table(table)?;
        self.select(&schema, "LIMIT ?", vec![Sql::Integer(i64::try_from(limit).unwrap_or(i64::MAX))])
    }

    fn count_rows(&self, table: &str) -> Result<u64> {
        let schema = self.table(table)?;
        let text = format!("SELECT count(*) FROM {}", self::table(&schema.name));
        self.read(|reader| {
            let count: Option<i64> = reader
                .query_row(&text, [], |row| row.get(0))
                .optional()
                .map_err(|error| self.failed(error))?;
            Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
        })
    }

    fn delete_rows(&self, table: &str, keys: &[Vec<Cell>]) -> Result<u64> {
        let schema = self.table(table)?;
        self.write(|transaction| {
            keys.iter().try_fold(0, |sum, key| Ok(sum + self.delete_row(transaction, &schema, key)?))
        })
    }

    fn tables(&self) -> Result<Vec<TableSchema>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        Ok(known.tables.values().map(|schema| TableSchema::clone(schema)).collect())
    }
}
