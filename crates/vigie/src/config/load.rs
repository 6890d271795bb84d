//! Reading the configuration: file, then environment; errors say where, what, and what was probably meant.

use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::{Table, Value};

use super::{Config, Role};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {path}: cannot be read: {source}; check the path and its permissions")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("configuration file {path}{position}: {reason}{hint}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// `:line:column`, where known.
        position: String,
        /// What is wrong.
        reason: String,
        /// What was probably meant.
        hint: String,
    },
    /// A variable of the environment does not fit.
    #[error("environment variable {name}: {reason}{hint}")]
    Environment {
        /// The variable, or all of them.
        name: String,
        /// What is wrong.
        reason: String,
        /// What was probably meant.
        hint: String,
    },
    /// A declared feature makes no sense.
    #[error("configuration: features, number {number} (`{name}`): {reason}")]
    Feature {
        /// Which, from 1.
        number: usize,
        /// Its name.
        name: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The log cannot be reached this way.
    #[error("configuration: log: {0}")]
    Log(String),
    /// A value is of the right type but makes no sense.
    #[error("configuration: {key} = {value}: {reason}")]
    OutOfRange {
        /// `section.key`.
        key: &'static str,
        /// The value.
        value: String,
        /// What would be right.
        reason: &'static str,
    },
}

/// Loads the configuration: defaults, then `file`, then `environment` (`VIGIE_SECTION__KEY=value`), then checks the values.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut table = Table::new();
    if let Some(path) = file {
        let bytes = std::fs::read(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let text = String::from_utf8(bytes).map_err(|error| ConfigError::Invalid {
            path: path.to_owned(),
            position: String::new(),
            reason: format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to()),
            hint: String::from("; save it as UTF-8"),
        })?;
        // Parsed as a whole first: only this parse knows lines and columns.
        let invalid = |error: toml::de::Error| ConfigError::Invalid {
            path: path.to_owned(),
            position: error.span().map(|span| position(&text, span.start)).unwrap_or_default(),
            reason: error.message().to_owned(),
            hint: suggestion(error.message()),
        };
        toml::from_str::<Config>(&text).map_err(invalid)?;
        table = text.parse::<Table>().map_err(invalid)?;
    }
    let mut names = Vec::new();
    for (name, value) in environment {
        let Some(path) = name.strip_prefix("VIGIE_").filter(|rest| rest.contains("__") || *rest == "DATA")
        else {
            continue;
        };
        let keys: Vec<String> = path.to_lowercase().split("__").map(String::from).collect();
        set(&mut table, &keys, parse_value(&value)).map_err(|reason| ConfigError::Environment {
            name: name.clone(),
            reason,
            hint: String::new(),
        })?;
        names.push(name);
    }
    let config = Config::deserialize(Value::Table(table)).map_err(|error| ConfigError::Environment {
        name: names.join(", "),
        reason: error.message().trim().to_owned(),
        hint: suggestion(error.message()),
    })?;
    check(&config)?;
    Ok(config)
}

impl Config {
    /// Whether the values make sense, alone and together.
    pub fn check(&self) -> Result<(), ConfigError> {
        check(self)
    }
}

fn check(config: &Config) -> Result<(), ConfigError> {
    let share = |key, value: f64| {
        if (0.0..=1.0).contains(&value) {
            Ok(())
        } else {
            Err(ConfigError::OutOfRange { key, value: value.to_string(), reason: "must lie between 0 and 1" })
        }
    };
    let at_least = |key, value: f64, least: f64, reason| {
        if value.is_finite() && value >= least {
            Ok(())
        } else {
            Err(ConfigError::OutOfRange { key, value: value.to_string(), reason })
        }
    };
    share("churn.threshold", config.churn.threshold)?;
    share("assignment.holdout_rate", config.assignment.holdout_rate)?;
    share("assignment.assumed_effect", config.assignment.assumed_effect)?;
    share("assignment.min_probability", config.assignment.min_probability)?;
    at_least("log.partitions", f64::from(config.log.partitions), 1.0, "must be at least 1")?;
    at_least("engine.threads", config.engine.threads as f64, 1.0, "must be at least 1")?;
    at_least(
        "engine.commit_interval_ms",
        config.engine.commit_interval_ms as f64,
        1.0,
        "must be at least 1",
    )?;
    at_least("pages.window_ms", config.pages.window_ms as f64, 1.0, "must be at least 1")?;
    at_least("shop.logins", config.shop.logins as f64, 1.0, "must be at least 1")?;
    at_least("sources.csv_rate", config.sources.csv_rate, 0.0, "must be 0 (off) or more")?;
    at_least("sources.agency_rate", config.sources.agency_rate, 0.0, "must be 0 (off) or more")?;
    at_least("sources.page_rate", config.sources.page_rate, 0.0, "must be 0 (off) or more")?;
    at_least("sources.shop_speed", config.sources.shop_speed, 0.0, "must be 0 (off) or more")?;
    at_least("sources.speed", config.sources.speed, f64::MIN_POSITIVE, "must be more than 0")?;
    if config.churn.history_days < 1 && config.churn.history_days != -1 {
        return Err(ConfigError::OutOfRange {
            key: "churn.history_days",
            value: config.churn.history_days.to_string(),
            reason: "must be at least 1, or -1 for no limit",
        });
    }
    super::features::check(&config.features)?;
    if config.roles.is_empty() {
        return Err(ConfigError::OutOfRange {
            key: "roles",
            value: String::from("[]"),
            reason: "at least one of \"source\", \"process\", \"sink\", \"serve\"",
        });
    }
    if config.log.is_embedded() {
        // One process holds the embedded log, so nobody else could do the rest.
        if config.roles.len() < Role::ALL.len() {
            return Err(ConfigError::OutOfRange {
                key: "roles",
                value: format!("{:?}", config.roles).to_lowercase(),
                reason: "the embedded log belongs to one instance, which does everything; roles can be spread with log.url = \"kafka://...\"",
            });
        }
        return Ok(());
    }
    crate::log::kafka(&config.log).map(|_| ()).map_err(|error| ConfigError::Log(error.to_string()))
}

fn parse_value(text: &str) -> Value {
    format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(table: &mut Table, keys: &[String], value: Value) -> Result<(), String> {
    match keys {
        [] => Err(String::from("names no key")),
        [key] => {
            table.insert(key.clone(), value);
            Ok(())
        }
        [section, rest @ ..] => {
            match table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new())) {
                Value::Table(inner) => set(inner, rest, value),
                _ => Err(format!("`{section}` is a value, not a section")),
            }
        }
    }
}

fn position(text: &str, byte: usize) -> String {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    format!(":{line}:{column}")
}

/// "unknown field `prot`, expected one of `host`, `port`" -> "; did you mean `port`?"
fn suggestion(message: &str) -> String {
    let Some(rest) = message.split_once("unknown field ").map(|(_, rest)| rest) else {
        return String::new();
    };
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else { return String::new() };
    quoted
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().max(unknown.len()) / 2)
        .map(|(_, known)| format!("; did you mean `{known}`?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        load(Some(file.path()), environment).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        assert_eq!(load_text("", &[]).unwrap(), Config::default());
    }

    #[test]
    fn the_book_shows_the_defaults() {
        let chapter = include_str!("../../../../docs/configuration.md");
        let block = chapter.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(load_text(block, &[]).unwrap(), Config::default());
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config = load_text(
            "[server]\nport = 1\n[sources]\nusers_url = \"http://a\"",
            &[("VIGIE_SERVER__PORT", "2"), ("VIGIE_SOURCES__USERS_URL", "http://b"), ("VIGIE_CACHE", "x")],
        );
        let config = config.unwrap();
        assert_eq!(config.server.port, 2);
        assert_eq!(config.sources.users_url.as_deref(), Some("http://b"));
    }

    #[test]
    fn each_mistake_is_named_with_its_place_and_what_was_meant() {
        for (text, environment, expected) in [
            ("[server]\nprot = 1", vec![], vec![":2:1", "unknown field `prot`", "did you mean `port`?"]),
            ("[sever]\nport = 1", vec![], vec![":1:2", "did you mean `server`?"]),
            ("[server]\nport = \"eighty\"", vec![], vec![":2:8", "invalid type: string", "u16"]),
            ("[server]\nport = 99999", vec![], vec![":2:8", "99999"]),
            ("[server\nport = 1", vec![], vec![":1:8"]),
            ("[churn]\nthreshold = 1.5", vec![], vec!["churn.threshold = 1.5", "between 0 and 1"]),
            ("[sources]\npage_rate = nan", vec![], vec!["sources.page_rate = NaN"]),
            (
                "[[features]]\nname = \"a b\"\ntopic = \"evenements\"\nmeasure = \"count\"\nwindow_days = 7",
                vec![],
                vec!["number 1 (`a b`)", "letters, digits"],
            ),
            (
                "[[features]]\nname = \"s\"\ntopic = \"evenements\"\nmeasure = \"sum\"\nwindow_days = 7",
                vec![],
                vec!["(`s`)", "needs `field`"],
            ),
            (
                "[[features]]\nname = \"s\"\ntopic = \"churn-scores\"\nmeasure = \"count\"\nwindow_days = 7",
                vec![],
                vec!["churn-scores", "a topic of your own"],
            ),
            (
                "[[features]]\nname = \"s\"\ntopic = \"t\"\nmeasure = \"count\"\nwindow_days = 0",
                vec![],
                vec!["window_days = 0", "between 1 and 730"],
            ),
            (
                "[[features]]\nname = \"s\"\ntopic = \"t\"\nmesure = \"count\"\nwindow_days = 7",
                vec![],
                vec![":4:1", "did you mean `measure`?"],
            ),
            ("[log]\nurl = \"rabbit://x\"", vec![], vec!["rabbit://x", "kafka://host:9092"]),
            (
                "[log]\nurl = \"kafka://x\"\nmembership = \"best\"",
                vec![],
                vec!["membership `best`", "`auto`"],
            ),
            ("roles = [\"serve\"]", vec![], vec!["roles", "embedded log belongs to one instance"]),
            ("roles = [\"srve\"]", vec![], vec![":1:10", "srve"]),
            ("roles = []\nlog = { url = \"kafka://x\" }", vec![], vec!["roles", "at least one"]),
            ("", vec![("VIGIE_SERVER__PROT", "1")], vec!["VIGIE_SERVER__PROT", "did you mean `port`?"]),
            ("", vec![("VIGIE_SERVER__PORT", "x")], vec!["VIGIE_SERVER__PORT", "invalid type"]),
        ] {
            let message = load_text(text, &environment).unwrap_err();
            for part in expected {
                assert!(message.contains(part), "{text:?} gave {message:?}, without {part:?}");
            }
        }
    }

    #[test]
    fn a_missing_file_and_a_wrong_encoding_are_said() {
        let message = load(Some(Path::new("no/such/file.toml")), []).unwrap_err().to_string();
        assert!(message.contains("no/such/file.toml") && message.contains("cannot be read"), "{message}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"# \xff\xfe").unwrap();
        let message = load(Some(file.path()), []).unwrap_err().to_string();
        assert!(message.contains("not UTF-8 from byte 2 on"), "{message}");
    }
}
