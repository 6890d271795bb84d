//! Do today's customers look like those the model learnt from? Input drift, column by column.
//!
//! The population stability index says how far, a chi-square test says whether so much could be chance at this
//! sample's size; only both together make a verdict. A hundred customers may differ by luck, a hundred thousand
//! differ by something.

use crate::{
    features::{Feature, FeatureKind},
    model::{FeatureRow, Model},
    special::chi_square_tail,
    words::{Lang, Words, number},
};
use serde::{Deserialize, Serialize};

/// Where the training values of a feature lay: shares per bin, the last of which is "missing".
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Profile {
    /// Upper ends of all bins of numbers but the last one, ascending; empty for categories (a bin per level).
    pub cuts: Vec<f64>,
    /// Share of training rows per bin.
    pub shares: Vec<f64>,
}

/// Numbers are divided at the training rows' deciles.
const BINS: usize = 10;

impl Profile {
    /// The profile of a feature's training values (NaN: missing).
    #[must_use]
    pub fn of(kind: &FeatureKind, values: &[f64]) -> Self {
        let mut present: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        present.sort_by(f64::total_cmp);
        let (cuts, bins) = match kind {
            FeatureKind::Category { levels } => (Vec::new(), levels.len() + 1),
            FeatureKind::Boolean => (vec![0.5], 2),
            FeatureKind::Number { .. } | FeatureKind::Date { .. } => {
                let mut cuts: Vec<f64> =
                    (1..BINS).filter_map(|i| present.get(i * present.len() / BINS).copied()).collect();
                cuts.dedup();
                let bins = cuts.len() + 1;
                (cuts, bins)
            }
        };
        let mut profile = Self { cuts, shares: vec![0.0; bins + 1] };
        let counts = profile.count(values.iter().copied());
        let n = values.len().max(1) as f64;
        profile.shares = counts.into_iter().map(|count| count / n).collect();
        profile
    }

    fn count(&self, values: impl Iterator<Item = f64>) -> Vec<f64> {
        let missing = self.shares.len().saturating_sub(1);
        let mut counts = vec![0.0; self.shares.len()];
        for value in values {
            let bin = if value.is_nan() {
                missing
            } else if self.cuts.is_empty() {
                (value.max(0.0) as usize).min(missing.saturating_sub(1))
            } else {
                self.cuts.partition_point(|cut| *cut <= value)
            };
            if let Some(slot) = counts.get_mut(bin) {
                *slot += 1.0;
            }
        }
        counts
    }
}

/// How much one column drifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftVerdict {
    /// Too few customers to tell.
    TooFew,
    /// As in training, as far as this sample can tell.
    Stable,
    /// Different, and not by chance; worth a look.
    Changed,
    /// Very different, and not by chance: train again.
    Drifted,
}

/// The drift of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// The column.
    pub name: String,
    /// Population stability index: 0 for none, above 0.25 is usually called large.
    pub stability_index: f64,
    /// Probability of a difference like this by chance.
    pub p_value: f64,
    /// Both together.
    pub verdict: DriftVerdict,
}

impl ColumnDrift {
    /// The verdict as a sentence.
    #[must_use]
    pub fn words(&self) -> Words {
        let name = &self.name;
        let index = |lang| number(self.stability_index, 2, lang);
        let (en, fr) = (index(Lang::En), index(Lang::Fr));
        match self.verdict {
            DriftVerdict::TooFew => Words::new(
                format!("{name}: too few customers to tell"),
                format!("{name} : trop peu de clients pour conclure"),
            ),
            DriftVerdict::Stable => Words::new(
                format!("{name}: as in training ({en})"),
                format!("{name} : comme à l’apprentissage ({fr})"),
            ),
            DriftVerdict::Changed => Words::new(
                format!("{name}: different from training ({en}), worth a look"),
                format!("{name} : différent de l’apprentissage ({fr}), à regarder"),
            ),
            DriftVerdict::Drifted => Words::new(
                format!("{name}: very different from training ({en}), train again"),
                format!("{name} : très différent de l’apprentissage ({fr}), à réapprendre"),
            ),
        }
    }
}

/// Fewer customers than this give no verdict.
const ROWS_NEEDED: usize = 50;
/// Limits of the index between the verdicts.
const CHANGED: f64 = 0.1;
const DRIFTED: f64 = 0.25;

impl Model {
    /// Compares customers with those of the training table, column by column.
    #[must_use]
    pub fn drift(&self, rows: &[FeatureRow]) -> Vec<ColumnDrift> {
        let level = 0.01 / self.features().len().max(1) as f64;
        self.features()
            .iter()
            .enumerate()
            .map(|(index, feature)| {
                let values = rows.iter().map(|row| row.values().get(index).copied().unwrap_or(f64::NAN));
                column(feature, values, rows.len(), self.card().rows, level)
            })
            .collect()
    }
}

fn column(
    feature: &Feature,
    values: impl Iterator<Item = f64>,
    now: usize,
    then: usize,
    level: f64,
) -> ColumnDrift {
    let profile = &feature.profile;
    let (n, m) = (now.max(1) as f64, then.max(1) as f64);
    let (mut index, mut statistic, mut bins) = (0.0, 0.0, 0u32);
    for (count, share) in profile.count(values).into_iter().zip(&profile.shares) {
        let pooled = (count + share * m) / (n + m);
        if pooled <= 0.0 {
            continue;
        }
        bins += 1;
        let difference = count / n - share;
        statistic += difference * difference / (pooled * (1.0 / n + 1.0 / m));
        // Half a customer in an empty bin keeps the logarithm finite.
        let (p, q) = (count.max(0.5) / n, (share * m).max(0.5) / m);
        index += (p - q) * (p / q).ln();
    }
    let p_value = chi_square_tail(statistic, f64::from(bins.saturating_sub(1)));
    let verdict = if now < ROWS_NEEDED {
        DriftVerdict::TooFew
    } else if p_value >= level || index < CHANGED {
        DriftVerdict::Stable
    } else if index < DRIFTED {
        DriftVerdict::Changed
    } else {
        DriftVerdict::Drifted
    };
    ColumnDrift { name: feature.name.clone(), stability_index: index, p_value, verdict }
}
