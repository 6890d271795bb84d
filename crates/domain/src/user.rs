//! A user of the users platform, one record each, exploded from the batches of `random_user_data`.

use serde::{Deserialize, Serialize};
use vigie_contracts::Pii;

/// One user, as on `users` and in `random_user_table`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct User {
    /// `login.uuid`.
    pub user_id: String,
    /// Title, first and last name.
    #[schema(value_type = String)]
    pub full_name: Pii<String>,
    /// As the service gives it.
    pub gender: String,
    /// `dob.age`, years.
    pub age: u32,
    /// `location.country`.
    pub country: String,
    /// `location.city`.
    #[schema(value_type = String)]
    pub city: Pii<String>,
    /// `email`.
    #[schema(value_type = String)]
    pub email: Pii<String>,
    /// `phone`.
    #[schema(value_type = String)]
    pub phone: Pii<String>,
    /// `nat`: two-letter nationality.
    pub nationality: String,
    /// `registered.date`, ISO 8601.
    pub registered: String,
    /// `picture.thumbnail`; never loaded by the screens, which make no external request.
    pub picture: String,
    /// When the batch came in, ms since the epoch.
    pub ingestion_time: i64,
}
