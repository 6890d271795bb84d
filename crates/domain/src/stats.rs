//! Running totals. The state is always sum and count, never a mean of means.

use serde::{Deserialize, Serialize};

/// One running statistic of `evenements`, as on `evenements-stats`: key `total`, `type:achat` or `user:user1`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventStat {
    /// Events.
    pub count: u64,
    /// Purchases among them.
    pub purchases: u64,
    /// Sum of their prices, in cents, so that sums are exact.
    pub sales_cents: i64,
    /// Newest event, ms since the epoch.
    pub last_event: i64,
}

/// Users of one country, as on `country-stats`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CountryStats {
    /// The country.
    pub country: String,
    /// Different users.
    pub count_users: u64,
    /// Sum of their ages in years.
    pub sum_age: u64,
    /// When the last of them came in, ms since the epoch.
    pub last_update: i64,
}

/// Users of one gender, as on `gender-stats`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GenderStats {
    /// The gender as the service gives it.
    pub gender: String,
    /// Different users.
    pub count_users: u64,
    /// Sum of their ages in years.
    pub sum_age: u64,
    /// When the last of them came in, ms since the epoch.
    pub last_update: i64,
}

/// Mean of a sum over a count; 0 for none.
fn mean(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

impl CountryStats {
    /// Mean age in years.
    pub fn avg_age(&self) -> f64 {
        mean(self.sum_age, self.count_users)
    }
}

impl GenderStats {
    /// Mean age in years.
    pub fn avg_age(&self) -> f64 {
        mean(self.sum_age, self.count_users)
    }
}
