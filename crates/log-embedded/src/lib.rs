//! log-embedded
