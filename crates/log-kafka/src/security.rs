//! How a client proves who it is and whom it trusts: TLS and SASL, typed.
//!
//! A secret is never in the configuration itself: it is the name of a file or of an environment variable ([`Secret`]), read when a client
//! is made, and never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use vigie_log::{LogError, Result};

/// Where a secret is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl Secret {
    /// Reads it. The error names the place, never the content.
    pub fn read(&self) -> Result<String> {
        let (text, place) = match self {
            Self::File(path) => (std::fs::read_to_string(path).map_err(|error| error.to_string()), self),
            Self::Env(name) => (std::env::var(name).map_err(|error| error.to_string()), self),
        };
        let text = text.map_err(|reason| {
            LogError::other(
                format!("reading a secret from {place:?}"),
                format!("{reason}; check that it is there and may be read by this user"),
            )
        })?;
        let secret = text.lines().next().unwrap_or_default();
        if secret.is_empty() {
            return Err(LogError::other(format!("reading a secret from {place:?}"), "it is empty"));
        }
        Ok(secret.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// Encryption, and whom to trust.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Authorities that may have signed the broker's certificate (PEM); `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// This client's certificate (PEM), where the broker asks for one.
    pub certificate: Option<PathBuf>,
    /// The key of that certificate (PEM).
    pub key: Option<PathBuf>,
    /// What the key is encrypted with.
    pub key_password: Option<Secret>,
    /// Accept a certificate that is made out to another host: for tunnels only.
    pub any_host: bool,
}

impl Tls {
    /// Trusts what this authority has signed.
    pub fn trusting(ca: impl AsRef<Path>) -> Self {
        Self { ca: Some(ca.as_ref().to_owned()), ..Self::default() }
    }
}

/// Which hash a SCRAM login uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramHash {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

/// Proof of identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sasl {
    /// User and password in clear: only together with TLS.
    Plain {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// User and password, of which only a proof travels.
    Scram {
        /// Which hash.
        hash: ScramHash,
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A signed token (JSON web token), read anew whenever it is about to expire: whoever issues it keeps the file up to date.
    OauthBearer {
        /// The token.
        token: Secret,
    },
}

impl Sasl {
    /// Kafka's name of the mechanism.
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain { .. } => "PLAIN",
            Self::Scram { hash: ScramHash::Sha256, .. } => "SCRAM-SHA-256",
            Self::Scram { hash: ScramHash::Sha512, .. } => "SCRAM-SHA-512",
            Self::OauthBearer { .. } => "OAUTHBEARER",
        }
    }
}

/// TLS and SASL; neither by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Security {
    /// Encryption.
    pub tls: Option<Tls>,
    /// Identity.
    pub sasl: Option<Sasl>,
}

impl Security {
    /// Kafka's `security.protocol`.
    pub fn protocol(&self) -> &'static str {
        match (&self.tls, &self.sasl) {
            (None, None) => "PLAINTEXT",
            (Some(_), None) => "SSL",
            (None, Some(_)) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        }
    }
}
