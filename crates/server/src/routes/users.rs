//! The users platform: the newest users, countries, genders.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use vigie_domain::User;

use crate::app::{Context, blocking};
use crate::ports::{Find, UsersSource};
use crate::problem::Problem;
use crate::views::{self, field};

/// Users of a country.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
pub(crate) struct Country {
    country: String,
    count_users: u64,
    avg_age: f64,
    last_update: i64,
}

/// Users of a gender.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
pub(crate) struct Gender {
    gender: String,
    count_users: u64,
    avg_age: f64,
}

/// The users platform.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Users {
    latest: Vec<User>,
    countries: Vec<Country>,
    genders: Vec<Gender>,
    total: u64,
    recorded: bool,
    source: Option<UsersSource>,
}

/// The ten newest users, and totals by country and gender.
#[utoipa::path(get, path = "/api/v1/users", responses((status = 200, body = Users)))]
pub(crate) async fn users(State(context): State<Arc<Context>>) -> Result<Json<Users>, Problem> {
    blocking(&context, |context| {
        let app = &context.app;
        let latest = Find::all(views::LATEST_USERS).newest(field::INGESTION_TIME).page(0, 10);
        let mut countries: Vec<Country> = super::find(&*app.views, &Find::all(views::COUNTRY_STATS))?.items;
        let genders: Vec<Gender> = super::find(&*app.views, &Find::all(views::GENDER_STATS))?.items;
        countries.sort_by(|a, b| b.count_users.cmp(&a.count_users).then_with(|| a.country.cmp(&b.country)));
        let source = app.sources.users();
        Ok(Json(Users {
            latest: super::find(&*app.views, &latest)?.items,
            total: countries.iter().map(|country| country.count_users).sum(),
            countries,
            genders,
            recorded: source.as_ref().is_some_and(|source| source.recorded),
            source,
        }))
    })
    .await
}
