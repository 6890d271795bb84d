//! How a command ends: with a documented code, and where it failed, with what to do.

use std::process::ExitCode;

use vigie_churn::ChurnError;
use vigie_log::LogError;
use vigie_sources::csv::CsvError;

use crate::config::ConfigError;

/// Exit codes. They are documented in `vigie --help`; scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It failed.
    Failure = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The input data is bad, all of it or in part; what was good has been processed.
    BadInput = 3,
    /// The log or a store cannot be opened, or is in use by another process.
    Unavailable = 4,
    /// What was asked for is not there.
    NothingFound = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What, where, and what to do next.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(super) fn print(&self, json: bool) {
        use std::io::Write as _;
        if self.message.is_empty() {
            return;
        }
        let mut stderr = std::io::stderr().lock();
        // Nobody reads any more: there is nobody to tell.
        let _ = if json {
            writeln!(stderr, "{}", serde_json::json!({"error": self.message, "exit": self.exit as u8}))
        } else {
            writeln!(stderr, "vigie: {}", self.message)
        };
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let exit = match &error {
            LogError::UnknownTopic { .. }
            | LogError::UnknownPartition { .. }
            | LogError::OffsetOutOfRange { .. } => Exit::NothingFound,
            LogError::InvalidTopic { .. } => Exit::Usage,
            LogError::TooLarge { .. } => Exit::BadInput,
            LogError::TopicExists { .. } | LogError::InvalidState(_) => Exit::Failure,
            _ => Exit::Unavailable,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<CsvError> for Failure {
    fn from(error: CsvError) -> Self {
        Self::new(Exit::BadInput, error.to_string())
    }
}

impl From<ChurnError> for Failure {
    fn from(error: ChurnError) -> Self {
        Self::new(Exit::BadInput, error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

/// Standard output, mostly: a reader that has gone away (`| head`) is not an error.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Ok, "");
        }
        Self::new(
            Exit::Failure,
            format!("cannot write the output: {error}; check the free space and the permissions"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_documented_codes() {
        let topic = || String::from("t");
        for (error, code) in [
            (LogError::UnknownTopic { topic: topic() }, 5),
            (LogError::TopicExists { topic: topic() }, 1),
            (LogError::InvalidTopic { topic: topic(), reason: topic() }, 2),
            (LogError::TooLarge { topic: topic(), size: 2, limit: 1 }, 3),
            (LogError::Locked { place: topic(), holder: topic() }, 4),
            (LogError::NotWritable { place: topic(), reason: topic() }, 4),
            (LogError::Unreachable { address: topic(), reason: topic() }, 4),
            (LogError::Closed, 4),
        ] {
            assert_eq!(Failure::from(error).exit as u8, code);
        }
        assert_eq!(Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)).exit, Exit::Ok);
    }
}
