//! Page views.

use serde::{Deserialize, Serialize};

/// One view of a page, as on `R1` and `R2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PageEvent {
    /// The page: `P1`, `P2`, ...
    pub name: String,
    /// The user: `U1`, `U2`, ...
    pub user: String,
    /// When, ms since the epoch.
    pub date: i64,
    /// How long, ms.
    pub duration: i64,
}

/// A page view after the mapping `R2` -> `R3`: the name has become `L:` and its length, the user `UUUUUU`.
pub type MappedPageEvent = PageEvent;

impl PageEvent {
    /// The mapping of `R2` to `R3`.
    pub fn mapped(&self) -> MappedPageEvent {
        PageEvent {
            name: format!("L:{}", self.name.chars().count()),
            user: String::from("UUUUUU"),
            date: self.date,
            duration: self.duration,
        }
    }
}

/// Views of one page in one window, as the table `page_counts` has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PageCount {
    /// The page.
    pub page: String,
    /// Start of the window, ms since the epoch, inclusive.
    pub window_start: i64,
    /// End of the window, exclusive.
    pub window_end: i64,
    /// How many.
    pub count: i64,
}
