//! `vigie demo` and `vigie run`.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure, Global, Outcome, out, place};
use crate::config::Config;
use crate::runtime;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vigie demo                                  example data, at http://127.0.0.1:8080\n  \
                        vigie demo --port 0 --data /tmp/try         a free port, a folder of its own\n  \
                        vigie demo --speed 86400 --seed 3           a day a second, another course of events\n  \
                        vigie run --csv new_customers.csv           your own rows, one a second\n  \
                        VIGIE_SHOP__LOGINS=5 vigie run              any setting by the environment\n  \
                        vigie run --log kafka://broker:9092         the same on Apache Kafka; start it on as many machines as you like\n  \
                        vigie run --log kafka://broker:9092 --role process,sink"
)]
pub(super) struct Start {
    /// Port to listen on; 0 takes a free one
    #[arg(long)]
    port: Option<u16>,
    /// Address to listen on; anything but loopback shows personal data to that network
    #[arg(long)]
    host: Option<String>,
    /// Where the log is: `embedded`, or kafka://host:9092,host2:9092
    #[arg(long, value_name = "URL")]
    log: Option<String>,
    /// What this instance does, separated by commas (on Kafka; all of it by default)
    #[arg(long, value_name = "ROLE,...", value_delimiter = ',')]
    role: Vec<crate::config::Role>,
    /// Seed of everything that is made up
    #[arg(long)]
    seed: Option<u64>,
    /// How much faster than the clock the agency scenario runs
    #[arg(long)]
    speed: Option<f64>,
    /// Events a second of the agency scenario; 0 switches it off
    #[arg(long, value_name = "RATE")]
    agency_rate: Option<f64>,
    /// Page views a second; 0 switches them off
    #[arg(long, value_name = "RATE")]
    page_rate: Option<f64>,
    /// Speed of the shop's five users; 0 switches them off
    #[arg(long, value_name = "FACTOR")]
    shop_speed: Option<f64>,
    /// Print each shop event, and every ten events the statistics (group groupe-consommateur-1)
    #[arg(long)]
    print_events: bool,
    /// A CSV file of customers whose rows are sent to `costumerchurn`
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Rows of that file a second
    #[arg(long, value_name = "RATE")]
    csv_rate: Option<f64>,
    /// The users service, for example https://randomuser.me/api/?results=10
    #[arg(long, value_name = "URL")]
    source_url: Option<String>,
}

impl Start {
    pub(super) fn run(self, global: &Global, demo: bool) -> Outcome {
        let mut config = place::config(global)?;
        config.data = Some(place::data(global, &config, demo)?);
        self.apply(&mut config)?;
        let json = global.json;
        let ready = |address: std::net::SocketAddr| {
            // Nobody reads standard output any more: the program runs all the same.
            let _ = if json {
                out::line(serde_json::json!({"address": format!("http://{address}"), "demo": demo}))
            } else {
                out::line(format_args!("vigie is ready at http://{address}  (stop with Ctrl-C)"))
            };
        };
        runtime::run(&runtime::RunOptions { config, demo }, ready).map_err(failure)?;
        Ok(Exit::Ok)
    }

    /// The command line wins over file and environment.
    fn apply(self, config: &mut Config) -> Result<(), Failure> {
        fn set<T>(to: &mut T, from: Option<T>) {
            if let Some(value) = from {
                *to = value;
            }
        }
        set(&mut config.server.port, self.port);
        set(&mut config.server.host, self.host);
        set(&mut config.log.url, self.log);
        if !self.role.is_empty() {
            config.roles = self.role.into_iter().collect();
        }
        config.check().map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        config.shop.print_events |= self.print_events;
        let sources = &mut config.sources;
        set(&mut sources.seed, self.seed);
        set(&mut sources.speed, positive("--speed", self.speed, false)?);
        set(&mut sources.agency_rate, positive("--agency-rate", self.agency_rate, true)?);
        set(&mut sources.page_rate, positive("--page-rate", self.page_rate, true)?);
        set(&mut sources.shop_speed, positive("--shop-speed", self.shop_speed, true)?);
        set(&mut sources.csv_rate, positive("--csv-rate", self.csv_rate, true)?);
        if self.csv.is_some() {
            sources.csv = self.csv;
        }
        if self.source_url.is_some() {
            sources.users_url = self.source_url;
            sources.users = true;
        }
        Ok(())
    }
}

fn positive(name: &str, value: Option<f64>, or_zero: bool) -> Result<Option<f64>, Failure> {
    match value {
        Some(number) if !number.is_finite() || number < 0.0 || (number == 0.0 && !or_zero) => {
            let least = if or_zero { "0 or more" } else { "more than 0" };
            Err(Failure::new(Exit::Usage, format!("{name} {number}: must be {least}")))
        }
        value => Ok(value),
    }
}

/// The exit code of a failure of the runtime: that of the log's error in it, if there is one.
fn failure(error: runtime::RuntimeError) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    let mut exit = Exit::Failure;
    while let Some(current) = cause {
        if let Some(log) = current.downcast_ref::<vigie_log::LogError>() {
            exit = Failure::from(log.to_shared()).exit;
        } else if current.is::<vigie_stores::StoreError>() {
            exit = Exit::Unavailable;
        } else if current.is::<vigie_sources::csv::CsvError>() {
            exit = Exit::BadInput;
        }
        cause = current.source();
    }
    Failure::new(exit, error.to_string())
}
