//! A trained model: what it reads, what it learnt, how it was judged. Scoring allocates nothing.

use crate::{
    calibration::Platt,
    card::{Importance, ModelCard},
    encode::Additive,
    error::ChurnError,
    features::Feature,
    forest::Blend,
    metrics::{self, Interval, Metrics},
    special::sigmoid,
    table::Table,
    trees::Trees,
    words::{Lang, Words},
};
use serde::{Deserialize, Serialize};

/// What the model says will happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The probability reaches the threshold.
    Leaves,
    /// It does not.
    Stays,
}

impl Verdict {
    /// The verdict in words.
    #[must_use]
    pub fn text(self, lang: Lang) -> &'static str {
        match (self, lang) {
            (Self::Leaves, Lang::En) => "likely to leave",
            (Self::Leaves, Lang::Fr) => "risque de partir",
            (Self::Stays, Lang::En) => "likely to stay",
            (Self::Stays, Lang::Fr) => "devrait rester",
        }
    }
}

/// One customer's score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Calibrated probability of leaving, between 0 and 1.
    pub probability: f64,
    /// The verdict at the model's threshold.
    pub verdict: Verdict,
    /// The calibrated log-odds, which reasons sum up to.
    pub log_odds: f64,
}

/// One customer's feature values, in the order of [`Model::features`]. NaN: missing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeatureRow(Vec<f64>);

impl FeatureRow {
    /// The values.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f64] {
        &mut self.0
    }

    /// A fingerprint of the values, to be published with a score: equal values, equal fingerprint.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for value in &self.0 {
            // One NaN for all, and no negative zero: the bytes must follow from the meaning.
            let value = if value.is_nan() { f64::NAN } else { *value + 0.0 };
            hasher.update(&value.to_bits().to_le_bytes());
        }
        hasher.digest()
    }
}

/// What a model learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "learner", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Learner {
    /// A logistic regression, as one curve per feature.
    Additive(Additive),
    /// Boosted trees.
    Trees(Trees),
    /// Both, mixed in log-odds.
    Blend(Blend),
}

impl Learner {
    /// The raw (not yet calibrated) log-odds of one row of feature values, without allocating.
    #[must_use]
    pub fn log_odds(&self, values: &[f64]) -> f64 {
        match self {
            Self::Additive(additive) => additive.log_odds(values),
            Self::Trees(trees) => trees.score(values),
            Self::Blend(blend) => blend.log_odds(values),
        }
    }

    /// Adds what each feature contributes to the raw log-odds, times `factor`, and returns their base, times `factor`.
    fn add_contributions(&self, values: &[f64], factor: f64, out: &mut [f64]) -> f64 {
        let additive_part = |additive: &Additive, factor: f64, out: &mut [f64]| {
            for ((slot, shape), value) in out.iter_mut().zip(&additive.shapes).zip(values) {
                *slot += factor * shape.at(*value);
            }
            factor * additive.base
        };
        match self {
            Self::Additive(additive) => additive_part(additive, factor, out),
            Self::Trees(trees) => {
                trees.add_contributions(values, factor, out);
                factor * trees.expected()
            }
            Self::Blend(blend) => {
                let share = factor * blend.share;
                blend.trees.add_contributions(values, share, out);
                additive_part(&blend.additive, factor - share, out) + share * blend.trees.expected()
            }
        }
    }
}

/// A trained model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub(crate) features: Vec<Feature>,
    pub(crate) learner: Learner,
    pub(crate) platt: Platt,
    pub(crate) threshold: f64,
    pub(crate) card: ModelCard,
    /// Follows from the content; set when the model is trained or read.
    #[serde(skip)]
    pub(crate) id: String,
}

impl Model {
    /// The features, in the order of a row's values.
    #[must_use]
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The model card: where the model comes from and how good it is.
    #[must_use]
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// 16 hexadecimal digits that follow from the model's content: the version to publish with each score.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The probability from which the verdict is "leaves".
    #[must_use]
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// What the model learnt.
    #[must_use]
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// The calibration.
    #[must_use]
    pub fn calibration(&self) -> Platt {
        self.platt
    }

    /// Where a feature stands in a row.
    ///
    /// # Errors
    /// [`ChurnError::UnknownColumn`] with the features there are.
    pub fn feature_index(&self, name: &str) -> Result<usize, ChurnError> {
        self.features.iter().position(|feature| feature.name == name).ok_or_else(|| {
            ChurnError::UnknownColumn {
                name: name.to_owned(),
                known: self.features.iter().map(|feature| feature.name.clone()).collect(),
            }
        })
    }

    /// Reads a customer's cells; `cell` is asked for each feature by name.
    ///
    /// # Errors
    /// [`ChurnError::BadCell`] when a cell is there and cannot be read.
    pub fn row<'a>(&self, mut cell: impl FnMut(&str) -> Option<&'a str>) -> Result<FeatureRow, ChurnError> {
        let values = self
            .features
            .iter()
            .map(|feature| feature.read(cell(&feature.name)))
            .collect::<Result<_, _>>()?;
        Ok(FeatureRow(values))
    }

    /// A row from numbers, in the order of the features. Missing ones at the end may be left off, more than there
    /// are features are not read.
    #[must_use]
    pub fn row_of(&self, values: &[Option<f64>]) -> FeatureRow {
        let values = values.iter().map(|value| value.unwrap_or(f64::NAN)).chain(std::iter::repeat(f64::NAN));
        FeatureRow(values.take(self.features.len()).collect())
    }

    /// Scores one customer, without allocating.
    #[must_use]
    pub fn score(&self, row: &FeatureRow) -> Score {
        self.score_values(&row.0)
    }

    /// Scores feature values as they stand in a row (NaN: missing), without allocating.
    #[must_use]
    pub fn score_values(&self, values: &[f64]) -> Score {
        let raw = self.learner.log_odds(values);
        let log_odds = self.platt.log_odds(raw);
        let probability = sigmoid(log_odds);
        let verdict = if probability >= self.threshold { Verdict::Leaves } else { Verdict::Stays };
        Score { probability, verdict, log_odds }
    }

    /// Fills in what each feature adds to the calibrated log-odds and returns their base.
    pub(crate) fn contributions(&self, row: &FeatureRow, out: &mut [f64]) -> f64 {
        out.fill(0.0);
        self.learner.add_contributions(&row.0, self.platt.slope, out) + self.platt.shift
    }

    /// How much each column moves the scores of these rows of feature values, the most first, with 95 % intervals.
    pub(crate) fn importance(&self, rows: &[Vec<f64>]) -> Vec<Importance> {
        let n = rows.len().max(1) as f64;
        let mut sums = vec![(0.0, 0.0); self.features.len()];
        let mut parts = vec![0.0; self.features.len()];
        for row in rows {
            parts.fill(0.0);
            self.learner.add_contributions(row, self.platt.slope, &mut parts);
            for ((sum, squares), part) in sums.iter_mut().zip(&parts) {
                *sum += part.abs();
                *squares += part * part;
            }
        }
        let mut all: Vec<Importance> = self
            .features
            .iter()
            .zip(sums)
            .map(|(feature, (sum, squares))| {
                let mean = sum / n;
                let spread = 1.959_964 * ((squares / n - mean * mean).max(0.0) / n).sqrt();
                let mean_size =
                    Interval { estimate: mean, low: (mean - spread).max(0.0), high: mean + spread };
                Importance { name: feature.name.clone(), mean_size }
            })
            .collect();
        all.sort_by(|a, b| {
            b.mean_size.estimate.total_cmp(&a.mean_size.estimate).then_with(|| a.name.cmp(&b.name))
        });
        all
    }

    /// Judges the model on a table that it was not trained on; the table needs the target's column.
    ///
    /// # Errors
    /// When a column is missing or a cell cannot be read, and [`ChurnError::OneClass`] when the table's known
    /// answers are all the same.
    pub fn judge(&self, table: &Table, replicates: usize, seed: u64) -> Result<Metrics, ChurnError> {
        match self.judge_readable(table, replicates, seed)? {
            (_, bad) if !bad.is_empty() => Err(bad.into_iter().next().map_or_else(
                || ChurnError::Empty { what: "the table".to_owned(), hint: String::new() },
                |(_, error)| error,
            )),
            (metrics, _) => Ok(metrics),
        }
    }

    /// Like [`judge`](Self::judge), but leaves out rows that cannot be read: each is named with its number in the table
    /// (from 0) and the reason.
    ///
    /// # Errors
    /// When a column is missing, and [`ChurnError::OneClass`] when the known answers are all the same.
    pub fn judge_readable(
        &self,
        table: &Table,
        replicates: usize,
        seed: u64,
    ) -> Result<(Metrics, Vec<(usize, ChurnError)>), ChurnError> {
        let plan = &self.card.plan;
        let target = table.column(&plan.target)?;
        let columns = self.features.iter().map(|f| table.column(&f.name)).collect::<Result<Vec<_>, _>>()?;
        let (mut y, mut predicted) = (Vec::new(), Vec::new());
        let mut bad = Vec::new();
        for row in 0..table.rows() {
            let Some(answer) = target.cell(row) else { continue };
            let read =
                self.features.iter().zip(&columns).map(|(feature, column)| feature.read(column.cell(row)));
            let values = match read.collect::<Result<Vec<f64>, _>>() {
                Ok(values) => values,
                Err(error) => {
                    bad.push((row, error));
                    continue;
                }
            };
            y.push(f64::from(u8::from(answer == plan.positive)));
            predicted.push(self.score_values(&values).probability);
        }
        if y.is_empty() {
            return Err(ChurnError::Empty {
                what: format!("the table, as far as {} is known", plan.target),
                hint: match bad.first() {
                    Some((row, error)) => format!("row {}: {error}", row + 1),
                    None => "all its cells are blank".to_owned(),
                },
            });
        }
        let metrics =
            metrics::judge(&y, &[predicted], &[], self.threshold, replicates, seed).ok_or_else(|| {
                ChurnError::OneClass {
                    column: plan.target.clone(),
                    value: if y.contains(&1.0) {
                        plan.positive.clone()
                    } else {
                        format!("not {}", plan.positive)
                    },
                    rows: y.len(),
                }
            })?;
        Ok((metrics, bad))
    }

    /// What should be said beside a score: values outside the range seen in training, categories never seen.
    #[must_use]
    pub fn notes(&self, row: &FeatureRow) -> Vec<Words> {
        let mut notes = Vec::new();
        for (feature, value) in self.features.iter().zip(&row.0) {
            let name = &feature.name;
            if value.is_nan() {
                notes.push(match &self.learner {
                    Learner::Additive(_) => Words::new(
                        format!("{name} is unknown: the usual value stands in"),
                        format!("{name} est inconnu : la valeur habituelle en tient lieu"),
                    ),
                    _ => Words::new(format!("{name} is unknown"), format!("{name} est inconnu")),
                });
            } else if feature.is_category() {
                if feature.level(*value).is_none() {
                    notes.push(Words::new(
                        format!("{name} has a value that was rare or absent in training"),
                        format!("{name} a une valeur rare ou absente à l’apprentissage"),
                    ));
                }
            } else if *value < feature.min || *value > feature.max {
                let words = crate::explain::value_words(feature, *value);
                let (low, high) = (
                    crate::explain::value_words(feature, feature.min),
                    crate::explain::value_words(feature, feature.max),
                );
                notes.push(Words::new(
                    format!("{name} is {}, outside {} to {} seen in training", words.en, low.en, high.en),
                    format!(
                        "{name} vaut {}, hors de {} à {} vus à l’apprentissage",
                        words.fr, low.fr, high.fr
                    ),
                ));
            }
        }
        notes
    }
}
