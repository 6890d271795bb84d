//! What the stores hold, as the server reads it: sets (collections and tables) of JSON objects.
//!
//! The server only reads; the sinks of the program write. The names of the sets and the shape of their items are in
//! [`crate::views`], which the sinks share.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Answer;

/// The stores, for reading.
pub trait Views: Send + Sync {
    /// One item by its id (collections) or by its first key column (tables).
    fn get(&self, set: &str, id: &str) -> Answer<Option<Value>>;
    /// One page of a set, and how many match in all. A set that nothing has been written to yet is empty.
    fn find(&self, find: &Find) -> Answer<Found>;
    /// How many items match.
    fn count(&self, set: &str, conditions: &[Condition]) -> Answer<u64>;
    /// The stores with their sizes.
    fn stores(&self) -> Vec<StoreInfo>;
}

/// Which items, in which order. Fields are paths with dots (`customer.Total_Purchase`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Find {
    /// Collection or table.
    pub set: String,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// First criterion first.
    pub order: Vec<Order>,
    /// Items to leave out.
    pub offset: u64,
    /// Items to return at most.
    pub limit: u64,
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The field.
    pub field: String,
    /// What must hold for it.
    pub test: Test,
}

/// What must hold for a field.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Test {
    /// Equal to this.
    Is(Value),
    /// Anything but this; holds where the field is absent.
    IsNot(Value),
    /// A number of at least this.
    AtLeast(f64),
    /// A number below this.
    Below(f64),
    /// This text occurs in it or in one of the further fields, whatever the case of its letters.
    Contains {
        /// The text.
        text: String,
        /// Further fields to look into.
        also: Vec<String>,
    },
}

/// One criterion of order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The field.
    pub field: String,
    /// Largest first.
    pub descending: bool,
}

/// One page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// How many match in all.
    pub total: u64,
    /// The page.
    pub items: Vec<Value>,
}

/// One store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StoreInfo {
    /// Its name.
    pub name: String,
    /// `documents`, `tables`, `state`, ...
    pub kind: String,
    /// Items, where that is known.
    pub entries: Option<u64>,
    /// Bytes, where that is known.
    pub bytes: Option<u64>,
}

impl Find {
    /// All of a set, in the store's own order.
    pub fn all(set: &str) -> Self {
        Self { set: set.to_owned(), limit: u64::MAX, ..Self::default() }
    }

    /// Adds a condition.
    pub fn that(mut self, field: &str, test: Test) -> Self {
        self.conditions.push(Condition { field: field.to_owned(), test });
        self
    }

    /// Adds a criterion of order, largest first.
    pub fn newest(mut self, field: &str) -> Self {
        self.order.push(Order { field: field.to_owned(), descending: true });
        self
    }

    /// Adds a criterion of order, smallest first.
    pub fn oldest(mut self, field: &str) -> Self {
        self.order.push(Order { field: field.to_owned(), descending: false });
        self
    }

    /// Only this page.
    pub fn page(self, offset: u64, limit: u64) -> Self {
        Self { offset, limit, ..self }
    }
}
