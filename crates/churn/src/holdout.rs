//! Who is held out: a fixed share of customers gets no action, so that the effect can be measured on the agency's
//! own data. Decided by a hash of the customer's id, so it is random, needs no memory and never changes for a
//! customer; a larger share holds out the same customers and some more.

use crate::error::ChurnError;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A sticky, seeded hold-out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HoldOut {
    share: f64,
    seed: u64,
}

impl HoldOut {
    /// Holds out this share (0 to 1) of all customers. Another seed draws other customers.
    ///
    /// # Errors
    /// [`ChurnError::BadSetting`] when the share is not between 0 and 1.
    pub fn new(share: f64, seed: u64) -> Result<Self, ChurnError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(ChurnError::BadSetting {
                setting: "hold_out",
                value: share.to_string(),
                expected: "a share between 0 and 1 is needed, such as 0.1",
            });
        }
        Ok(Self { share, seed })
    }

    /// The share held out.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Whether a customer is held out.
    #[must_use]
    pub fn holds(&self, customer_id: &str) -> bool {
        // The upper 53 bits as a number in [0, 1), which a share of 1 always exceeds.
        let unit = (xxh3_64_with_seed(customer_id.as_bytes(), self.seed) >> 11) as f64 / (1u64 << 53) as f64;
        unit < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_met_and_sticks() {
        let ids: Vec<String> = (0..20_000).map(|i| format!("customer-{i}")).collect();
        let (tenth, fifth) = (HoldOut::new(0.1, 7).unwrap(), HoldOut::new(0.2, 7).unwrap());
        let held = ids.iter().filter(|id| tenth.holds(id)).count();
        assert!((1_800..2_200).contains(&held), "{held}");
        assert!(ids.iter().filter(|id| tenth.holds(id)).all(|id| fifth.holds(id)), "more, never others");
        let other = HoldOut::new(0.1, 8).unwrap();
        let both = ids.iter().filter(|id| tenth.holds(id) && other.holds(id)).count();
        assert!((100..320).contains(&both), "another seed draws afresh: {both}");
        assert!(ids.iter().all(|id| HoldOut::new(1.0, 7).unwrap().holds(id)));
        assert!(!ids.iter().any(|id| HoldOut::new(0.0, 7).unwrap().holds(id)));
        assert!(HoldOut::new(1.5, 7).is_err() && HoldOut::new(f64::NAN, 7).is_err());
    }
}
