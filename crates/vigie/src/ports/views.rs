//! The stores, as the server reads them.

use std::sync::Arc;

use serde_json::Value;
use vigie_log::Clock;
use vigie_server::ports::{Answer, Condition, Find, Found, Order, PortError, StoreInfo, Test, Views};
use vigie_server::views;
use vigie_stores::{Cell, Documents, Op, Query, Row, StoreError, Tables, read_buckets_backwards};

use crate::sinks::{DAY_MS, HOUR_MS, is_table};

/// Small tables are read whole; this many rows at most.
const WHOLE_TABLE: u64 = 100_000;
/// Buckets of `latest_users` (hours) and `page_counts` (days) to look back.
const HOURS_BACK: u32 = 48;
const DAYS_BACK: u32 = 7;

/// Documents and tables behind the server's port.
pub struct StoreViews {
    /// Collections.
    pub documents: Arc<dyn Documents>,
    /// Tables.
    pub tables: Arc<dyn Tables>,
    /// Says which bucket is the newest.
    pub clock: Arc<dyn Clock>,
    /// Size of the stores' file, where it is known.
    pub bytes: Box<dyn Fn() -> Option<u64> + Send + Sync>,
}

fn port_error(error: StoreError) -> PortError {
    PortError::Unavailable(error.to_string())
}

impl StoreViews {
    /// Rows of a table, newest first where it is bucketed by time.
    fn rows(&self, table: &str, wanted: u64) -> Answer<Vec<Value>> {
        let now = self.clock.now();
        let rows = match table {
            views::LATEST_USERS => {
                read_buckets_backwards(&*self.tables, table, now.div_euclid(HOUR_MS), HOURS_BACK, wanted)
            }
            // The clock of the events may run a little ahead of ours.
            views::PAGE_COUNTS => {
                read_buckets_backwards(&*self.tables, table, now.div_euclid(DAY_MS) + 1, DAYS_BACK, wanted)
            }
            _ => self.tables.scan_all(table, WHOLE_TABLE),
        };
        Ok(rows.map_err(port_error)?.into_iter().map(Row::into_json).collect())
    }

    fn query(conditions: &[Condition]) -> Query {
        conditions.iter().fold(Query::new(), |query, condition| {
            let field = condition.field.as_str();
            match &condition.test {
                Test::Is(value) => query.filter(field, Op::Eq(value.clone())),
                Test::IsNot(value) => query.filter(field, Op::Ne(value.clone())),
                Test::AtLeast(least) => query.gt(field, least.next_down()),
                Test::Below(limit) => query.lt(field, *limit),
                // The collection's own search fields are those that the server names.
                Test::Contains { text, .. } => query.search(text),
                _ => query,
            }
        })
    }
}

impl Views for StoreViews {
    fn get(&self, set: &str, id: &str) -> Answer<Option<Value>> {
        if is_table(set) {
            let row = self.tables.get_row(set, &[Cell::from(id)]).map_err(port_error)?;
            return Ok(row.map(Row::into_json));
        }
        Ok(self.documents.get_document(set, id).map_err(port_error)?.map(|document| document.doc))
    }

    fn find(&self, find: &Find) -> Answer<Found> {
        if is_table(&find.set) {
            let rows = self.rows(&find.set, find.offset.saturating_add(find.limit).min(WHOLE_TABLE))?;
            return Ok(found_in(rows, find));
        }
        let mut query = Self::query(&find.conditions);
        if let Some(order) = find.order.first() {
            query = if order.descending {
                query.descending(order.field.as_str())
            } else {
                query.ascending(order.field.as_str())
            };
        }
        // The store counts in 64 bits with a sign.
        let limit = find.limit.min(i64::MAX as u64);
        let page = self.documents.find(&find.set, &query.page(find.offset, limit)).map_err(port_error)?;
        Ok(Found { total: page.total, items: page.items.into_iter().map(|document| document.doc).collect() })
    }

    fn count(&self, set: &str, conditions: &[Condition]) -> Answer<u64> {
        if is_table(set) {
            if conditions.is_empty() {
                return self.tables.count_rows(set).map_err(port_error);
            }
            let find = Find { conditions: conditions.to_vec(), ..Find::all(set) };
            return Ok(found_in(self.rows(set, WHOLE_TABLE)?, &find).total);
        }
        self.documents.count_documents(set, &Self::query(conditions)).map_err(port_error)
    }

    fn stores(&self) -> Vec<StoreInfo> {
        let collections = self.documents.collections().unwrap_or_default().into_iter().map(|name| StoreInfo {
            entries: self.documents.count_documents(&name, &Query::new()).ok(),
            name,
            kind: String::from("documents"),
            bytes: None,
        });
        let tables = self.tables.tables().unwrap_or_default().into_iter().map(|schema| StoreInfo {
            entries: self.tables.count_rows(&schema.name).ok(),
            name: schema.name,
            kind: String::from("tables"),
            bytes: None,
        });
        let file = StoreInfo {
            name: String::from("vigie.db"),
            kind: String::from("file"),
            entries: None,
            bytes: (self.bytes)(),
        };
        collections.chain(tables).chain([file]).collect()
    }
}

/// Filters, sorts and pages rows in memory.
fn found_in(mut rows: Vec<Value>, find: &Find) -> Found {
    rows.retain(|row| find.conditions.iter().all(|condition| holds(row, condition)));
    // The last criterion first: sorting is stable.
    for order in find.order.iter().rev() {
        rows.sort_by(|a, b| compare(a, b, order));
    }
    let total = rows.len() as u64;
    let skip = usize::try_from(find.offset).unwrap_or(usize::MAX);
    let take = usize::try_from(find.limit).unwrap_or(usize::MAX);
    Found { total, items: rows.into_iter().skip(skip).take(take).collect() }
}

fn field<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.').try_fold(row, |value, name| value.get(name)).unwrap_or(&Value::Null)
}

fn holds(row: &Value, condition: &Condition) -> bool {
    let value = field(row, &condition.field);
    match &condition.test {
        Test::Is(wanted) => value == wanted,
        Test::IsNot(unwanted) => value != unwanted,
        Test::AtLeast(least) => value.as_f64().is_some_and(|number| number >= *least),
        Test::Below(limit) => value.as_f64().is_some_and(|number| number < *limit),
        Test::Contains { text, also } => {
            let text = text.to_lowercase();
            std::iter::once(condition.field.as_str()).chain(also.iter().map(String::as_str)).any(|path| {
                field(row, path).as_str().is_some_and(|held| held.to_lowercase().contains(&text))
            })
        }
        _ => false,
    }
}

fn compare(a: &Value, b: &Value, order: &Order) -> std::cmp::Ordering {
    let (a, b) = (field(a, &order.field), field(b, &order.field));
    let ordering = match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.as_str().cmp(&b.as_str()),
    };
    if order.descending { ordering.reverse() } else { ordering }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_are_filtered_sorted_and_paged() {
        let rows = vec![
            json!({"country": "France", "n": 3}),
            json!({"country": "Spain", "n": 9}),
            json!({"country": "Iran", "n": 3}),
        ];
        let find = Find::all("t").that("n", Test::AtLeast(3.0)).newest("n").oldest("country").page(0, 2);
        let found = found_in(rows.clone(), &find);
        assert_eq!(found.total, 3);
        let names: Vec<_> = found.items.iter().map(|row| row["country"].as_str().unwrap()).collect();
        assert_eq!(names, ["Spain", "France"]);
        let some = Test::Contains { text: "RAN".into(), also: vec![] };
        assert_eq!(found_in(rows.clone(), &Find::all("t").that("country", some)).total, 2);
        assert_eq!(found_in(rows, &Find::all("t").that("n", Test::Below(3.0))).total, 0);
    }
}
