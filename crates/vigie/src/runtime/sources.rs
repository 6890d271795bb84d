//! The sources of a running program: which are started, and with what.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vigie_domain::Customer;
use vigie_log::{Clock, Log, Publisher};
use vigie_sources::agency::Assignments;
use vigie_sources::{
    Agency, AgencyOptions, CsvOptions, CsvSource, PageOptions, PageSource, ReplayServer, Runner, ShopOptions,
    ShopSource, SourceStatus, UsersOptions, UsersSource, UsersStatus,
};

use super::RuntimeError;
use crate::config::SourcesConfig;
use crate::model::BUNDLED_TRAINING;

const RECORDED_USERS: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/randomuser_response_111.json"));
/// Users in one answer of the service.
const USERS_PER_BATCH: usize = 10;

/// Gives the status of all sources.
pub type StatusView = Arc<dyn Fn() -> Vec<SourceStatus> + Send + Sync>;
/// Gives the status of the users' client.
pub type UsersView = Arc<dyn Fn() -> UsersStatus + Send + Sync>;

/// Sources at work.
pub struct RunningSources {
    runner: Runner,
    /// Serves the recorded answer as long as the sources run.
    _replay: Option<ReplayServer>,
    /// How the users' client does, if it runs.
    pub users: Option<UsersView>,
    /// Whether what the users' client gets is a recording.
    pub users_recorded: bool,
}

impl RunningSources {
    /// How each source does.
    pub fn status(&self) -> StatusView {
        self.runner.status_view()
    }

    /// Stops all of them; returns when their last records are durable.
    pub fn stop(&mut self) {
        self.runner.stop();
    }
}

/// Opens the file of customers and checks its header, before anything else is started or touched.
pub fn csv(config: &SourcesConfig) -> Result<Option<CsvSource>, RuntimeError> {
    let options = CsvOptions { rate: config.csv_rate, ..CsvOptions::default() };
    Ok(config.csv.as_ref().map(|path| CsvSource::open(path, options)).transpose()?)
}

/// Prepares the agency scenario, so that what was approved before can be told to it before it starts.
pub fn agency(
    config: &SourcesConfig,
    state: &Path,
    log: &dyn Log,
) -> Result<Option<(Agency, Assignments)>, RuntimeError> {
    if config.agency_rate <= 0.0 {
        return Ok(None);
    }
    let mut options = AgencyOptions::new(bundled_customers()?);
    options.seed = config.seed;
    options.rate = config.agency_rate;
    options.speed = config.speed;
    options.state = Some(state.to_owned());
    let mut agency = Agency::new(options).map_err(|error| RuntimeError::Source(error.to_string()))?;
    agency.skip_published(log)?;
    let assignments = agency.assignments();
    Ok(Some((agency, assignments)))
}

/// The same settings with nothing that would be started.
pub fn none(config: &SourcesConfig) -> SourcesConfig {
    SourcesConfig {
        csv: None,
        users: false,
        agency_rate: 0.0,
        page_rate: 0.0,
        shop_speed: 0.0,
        ..config.clone()
    }
}

/// Starts the sources. In the demo those that the configuration leaves open are filled in.
pub fn start(
    config: &SourcesConfig,
    demo: bool,
    csv: Option<CsvSource>,
    agency: Option<Agency>,
    publisher: Publisher,
    clock: Arc<dyn Clock>,
) -> Result<RunningSources, RuntimeError> {
    let mut runner = Runner::new(Arc::new(publisher), clock);
    let failed = |error: std::io::Error| RuntimeError::Source(error.to_string());
    let mut replay = None;
    let mut users = None;
    let mut users_recorded = false;
    if let Some(csv) = csv {
        runner.start(Box::new(csv)).map_err(failed)?;
    }
    if demo {
        if let Some(agency) = agency {
            runner.start(Box::new(agency)).map_err(failed)?;
        }
        if config.page_rate > 0.0 {
            let options = PageOptions { rate: config.page_rate, seed: config.seed, ..PageOptions::default() };
            runner.start(Box::new(PageSource::new(options))).map_err(failed)?;
        }
        if config.shop_speed > 0.0 {
            let options =
                ShopOptions { speed: config.shop_speed, seed: config.seed, ..ShopOptions::default() };
            runner.start(Box::new(ShopSource::new(options))).map_err(failed)?;
        }
    }
    let url = match (&config.users_url, demo) {
        (Some(url), _) => Some(url.clone()),
        (None, true) => {
            let server = ReplayServer::start_with(RECORDED_USERS, "randomuser_response_111.json", 0)
                .map_err(|error| RuntimeError::Source(error.to_string()))?;
            let url = server.url(USERS_PER_BATCH);
            replay = Some(server);
            users_recorded = true;
            Some(url)
        }
        (None, false) => None,
    };
    if let Some(url) = url.filter(|_| config.users) {
        let source = UsersSource::new(UsersOptions {
            url,
            interval: Duration::from_secs(config.users_interval_s),
            retry: Duration::from_secs(config.users_retry_s),
            seed: config.seed,
            recorded: users_recorded,
            ..UsersOptions::default()
        });
        users = Some(source.status_view());
        runner.start(Box::new(source)).map_err(failed)?;
    }
    Ok(RunningSources { runner, _replay: replay, users, users_recorded })
}

/// The customers of the scenario: the labelled file, without the labels.
fn bundled_customers() -> Result<Vec<Customer>, RuntimeError> {
    let mut reader = csv::Reader::from_reader(BUNDLED_TRAINING.as_bytes());
    let bad = |error: String| RuntimeError::Source(format!("customer_churn.csv (built in): {error}"));
    let headers = reader.headers().map_err(|error| bad(error.to_string()))?.clone();
    let mut customers = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| bad(error.to_string()))?;
        let cell = |name: &str| {
            headers.iter().position(|header| header == name).and_then(|index| record.get(index)).unwrap_or("")
        };
        let number = |name: &str| cell(name).parse::<f64>().map_err(|error| bad(format!("{name}: {error}")));
        customers.push(Customer {
            customer_id: None,
            names: cell("Names").to_owned().into(),
            age: number("Age")?,
            total_purchase: number("Total_Purchase")?,
            account_manager: u8::from(number("Account_Manager")? >= 0.5),
            years: number("Years")?,
            num_sites: number("Num_Sites")?,
            onboard_date: cell("Onboard_date").to_owned(),
            location: cell("Location").to_owned().into(),
            company: cell("Company").to_owned(),
            churn: None,
        });
    }
    Ok(customers)
}
