//! The stores of `vigie-stores` as [`Views`]: collections are asked by query, tables (which are small, or read by time) in memory.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::Value;
use vigie_log::Clock;
use vigie_stores::{Cell, Documents, Op, Query, Store, StoreError, Tables, read_buckets_backwards};

use super::{Answer, Condition, Find, Found, PortError, StoreInfo, Test, Views};
use crate::views;

/// `latest_users` is read backwards over so many hours at most: a week.
const HOURS: u32 = 7 * 24;
/// `page_counts` is read backwards over so many days at most.
const DAYS: u32 = 31;
/// Rows of a table at most; the tables of the application hold totals, or windows within their retention.
const ROWS: u64 = 200_000;

/// Documents and tables, for reading.
pub struct StoreViews {
    documents: Arc<dyn Documents>,
    tables: Arc<dyn Tables>,
    clock: Arc<dyn Clock>,
    sized: Option<Arc<dyn Store>>,
}

impl StoreViews {
    /// Reads from these stores; the clock says which hour is the newest.
    pub fn new(documents: Arc<dyn Documents>, tables: Arc<dyn Tables>, clock: Arc<dyn Clock>) -> Self {
        Self { documents, tables, clock, sized: None }
    }

    /// Also tells how large this store is as a whole.
    pub fn sized(self, store: Arc<dyn Store>) -> Self {
        Self { sized: Some(store), ..self }
    }

    fn is_table(&self, set: &str) -> Answer<bool> {
        Ok(self.tables.tables().map_err(failed)?.iter().any(|table| table.name == set))
    }

    fn rows(&self, find: &Find) -> Answer<Vec<Value>> {
        let plain = find.conditions.is_empty() && find.offset == 0 && find.limit <= ROWS;
        let rows = if find.set == views::LATEST_USERS && plain {
            let hour = self.clock.now().div_euclid(views::HOUR_MS);
            read_buckets_backwards(&*self.tables, &find.set, hour, HOURS, find.limit)
        } else if find.set == views::PAGE_COUNTS && plain {
            // A producer's clock may run ahead of ours, by less than a day.
            let day = self.clock.now().div_euclid(views::DAY_MS) + 1;
            read_buckets_backwards(&*self.tables, &find.set, day, DAYS, find.limit)
        } else {
            self.tables.scan_all(&find.set, ROWS)
        };
        Ok(rows.map_err(failed)?.into_iter().map(vigie_stores::Row::into_json).collect())
    }
}

fn failed(error: StoreError) -> PortError {
    PortError::Unavailable(format!("the stores do not answer: {error}"))
}

fn query(conditions: &[Condition]) -> Query {
    conditions.iter().fold(Query::new(), |query, condition| {
        let field = condition.field.as_str();
        match &condition.test {
            Test::Is(value) => query.filter(field, Op::Eq(value.clone())),
            Test::IsNot(value) => query.filter(field, Op::Ne(value.clone())),
            // There is no "at least": above the next smaller number is the same.
            Test::AtLeast(least) => query.gt(field, least.next_down()),
            Test::Below(most) => query.lt(field, *most),
            // Which fields are searched is declared with the collection.
            Test::Contains { text, .. } => query.search(text.as_str()),
        }
    })
}

fn at<'a>(item: &'a Value, path: &str) -> &'a Value {
    path.split('.').try_fold(item, |value, name| value.get(name)).unwrap_or(&Value::Null)
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().unwrap_or(f64::NAN).total_cmp(&b.as_f64().unwrap_or(f64::NAN))
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => a.is_null().cmp(&b.is_null()).reverse(),
    }
}

fn holds(item: &Value, condition: &Condition) -> bool {
    let value = at(item, &condition.field);
    match &condition.test {
        Test::Is(wanted) => value == wanted,
        Test::IsNot(unwanted) => value != unwanted,
        Test::AtLeast(least) => value.as_f64().is_some_and(|number| number >= *least),
        Test::Below(most) => value.as_f64().is_some_and(|number| number < *most),
        Test::Contains { text, also } => {
            let text = text.to_lowercase();
            std::iter::once(&condition.field).chain(also).any(|field| {
                at(item, field).as_str().is_some_and(|found| found.to_lowercase().contains(&text))
            })
        }
    }
}

fn number(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

impl Views for StoreViews {
    fn get(&self, set: &str, id: &str) -> Answer<Option<Value>> {
        if self.is_table(set)? {
            let row = self.tables.get_row(set, &[Cell::from(id)]).map_err(failed)?;
            return Ok(row.map(vigie_stores::Row::into_json));
        }
        Ok(self.documents.get_document(set, id).map_err(failed)?.map(|found| found.doc))
    }

    fn find(&self, find: &Find) -> Answer<Found> {
        if self.is_table(&find.set)? {
            let mut rows = self.rows(find)?;
            rows.retain(|row| find.conditions.iter().all(|condition| holds(row, condition)));
            rows.sort_by(|a, b| {
                find.order.iter().fold(Ordering::Equal, |so_far, order| {
                    let next = compare(at(a, &order.field), at(b, &order.field));
                    so_far.then(if order.descending { next.reverse() } else { next })
                })
            });
            let total = rows.len() as u64;
            let items = rows.into_iter().skip(number(find.offset)).take(number(find.limit)).collect();
            return Ok(Found { total, items });
        }
        let mut query = query(&find.conditions).page(find.offset, find.limit.min(i64::MAX as u64));
        if let Some(order) = find.order.first() {
            query =
                if order.descending { query.descending(&order.field) } else { query.ascending(&order.field) };
        }
        let page = self.documents.find(&find.set, &query).map_err(failed)?;
        Ok(Found { total: page.total, items: page.items.into_iter().map(|found| found.doc).collect() })
    }

    fn count(&self, set: &str, conditions: &[Condition]) -> Answer<u64> {
        if self.is_table(set)? {
            let find = Find { conditions: conditions.to_vec(), ..Find::all(set) };
            return Ok(self.find(&find)?.total);
        }
        self.documents.count_documents(set, &query(conditions)).map_err(failed)
    }

    fn stores(&self) -> Vec<StoreInfo> {
        let collections = self.documents.collections().unwrap_or_default().into_iter().map(|name| {
            let entries = self.documents.count_documents(&name, &Query::new()).ok();
            StoreInfo { name, kind: String::from("documents"), entries, bytes: None }
        });
        let tables = self.tables.tables().unwrap_or_default().into_iter().map(|table| {
            let entries = self.tables.count_rows(&table.name).ok();
            StoreInfo { name: table.name, kind: String::from("table"), entries, bytes: None }
        });
        let whole = self.sized.iter().map(|store| StoreInfo {
            name: store.address(),
            kind: String::from("file"),
            entries: None,
            bytes: store.size_bytes(),
        });
        whole.chain(collections).chain(tables).collect()
    }
}
