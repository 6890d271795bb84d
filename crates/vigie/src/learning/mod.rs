//! What is learnt from how things turned out: pure functions of outcomes with their predictions, of assignments, of features.
//!
//! - [`calibration`]: do as many leave as was predicted?
//! - [`comparison`]: the challenger beside the champion.
//! - [`trial`]: does acting help, by the hold-out?
//! - [`retraining`]: what all of it says about training again.

mod calibration;
mod comparison;
mod retraining;
mod sequence;
mod trial;

pub use calibration::{calibration, predictions_of};
pub use comparison::{Judged, comparison, judged};
pub use retraining::retraining;
pub use sequence::Sequence;
pub use trial::trial;

use vigie_server::ports::{Points, Words};

fn points(interval: &vigie_churn::Interval) -> Points {
    Points { points: interval.estimate * 100.0, low: interval.low * 100.0, high: interval.high * 100.0 }
}

fn words(en: impl Into<String>, fr: impl Into<String>) -> Words {
    Words { en: en.into(), fr: fr.into() }
}
