//! Why a score is what it is, why it changed, and what would change it.
//!
//! Contributions are in log-odds and exact: base + all contributions = the score's log-odds. They are measured
//! against the training rows' mean, so a customer who is average in everything has contributions of zero. They
//! say what the model uses, not what causes what.

use crate::{
    error::ChurnError,
    features::{Feature, FeatureKind},
    model::{FeatureRow, Model, Score},
    words::{Label, Lang, Words, number, percent},
};
use serde::{Deserialize, Serialize};

/// What one column adds to one score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The column.
    pub name: String,
    /// Its value as read, in both languages; "unknown" where missing.
    pub value: Words,
    /// What is usual in training (mean, or the most frequent level).
    pub usual: Words,
    /// Added to the log-odds.
    pub contribution: f64,
    /// For a yes or no that is known: which, and the share of yes in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yes_no: Option<(bool, f64)>,
}

impl Reason {
    /// The reason as a sentence: `Num_Sites is 12 (usually 8.6): raises the risk strongly`.
    #[must_use]
    pub fn text(&self, lang: Lang) -> String {
        self.text_as(&self.name, lang)
    }

    /// The same in people's words: `Without an account manager (48.1% have one): lowers the risk slightly`.
    #[must_use]
    pub fn text_with(&self, label: &Label, lang: Lang) -> String {
        let (Some((yes, share)), Some(words)) = (self.yes_no, &label.yes_no) else {
            return self.text_as(label.name.text(lang), lang);
        };
        let said = if yes { &words.yes } else { &words.no };
        let (said, share, having) = (said.text(lang), percent(share, lang), words.share.text(lang));
        let effect = self.effect();
        match lang {
            Lang::En => format!("{said} ({share} {having}): {}", effect.en),
            Lang::Fr => format!("{said} ({share} {having}) : {}", effect.fr),
        }
    }

    /// The same, with another name for the column (a translated label).
    #[must_use]
    pub fn text_as(&self, label: &str, lang: Lang) -> String {
        let (value, usual) = (self.value.text(lang), self.usual.text(lang));
        let effect = self.effect();
        let effect = effect.text(lang);
        match (lang, self.yes_no) {
            (Lang::En, Some((_, share))) => {
                format!("{label}: {value} (yes for {}): {effect}", percent(share, lang))
            }
            (Lang::Fr, Some((_, share))) => {
                format!("{label} : {value} (oui pour {}) : {effect}", percent(share, lang))
            }
            (Lang::En, None) => format!("{label} is {value} (usually {usual}): {effect}"),
            (Lang::Fr, None) if self.value.fr == UNKNOWN.1 => {
                format!("{label} : {value} (d’ordinaire {usual}) : {effect}")
            }
            (Lang::Fr, None) => format!("{label} vaut {value} (d’ordinaire {usual}) : {effect}"),
        }
    }

    /// What it does to the risk, in words without the value.
    #[must_use]
    pub fn effect(&self) -> Words {
        effect_words(self.contribution)
    }
}

/// Direction and strength in words. Odds multiplied by 1.05, 1.4 and 2.7 are the limits between the words.
fn effect_words(log_odds: f64) -> Words {
    let size = log_odds.abs();
    if size < 0.05 {
        return Words::new("hardly changes the risk", "ne change guère le risque");
    }
    let (verb_en, verb_fr) =
        if log_odds > 0.0 { ("raises the risk", "augmente") } else { ("lowers the risk", "diminue") };
    let (how_en, how_fr) = if size < 0.35 {
        ("slightly", "un peu le risque")
    } else if size < 1.0 {
        ("clearly", "nettement le risque")
    } else {
        ("strongly", "fortement le risque")
    };
    Words::new(format!("{verb_en} {how_en}"), format!("{verb_fr} {how_fr}"))
}

/// A score taken apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The score that is explained.
    pub score: Score,
    /// The log-odds of a customer who is usual in everything.
    pub base_log_odds: f64,
    /// The columns' contributions, the weightiest first.
    pub reasons: Vec<Reason>,
}

impl Explanation {
    /// The weightiest reasons that speak for leaving.
    pub fn raising(&self) -> impl Iterator<Item = &Reason> {
        self.reasons.iter().filter(|reason| reason.contribution > 0.0)
    }

    /// Why this score differs from an `earlier` one of the same customer and model.
    #[must_use]
    pub fn changed_since(&self, earlier: &Self) -> Change {
        let mut reasons: Vec<ReasonChange> = self
            .reasons
            .iter()
            .filter_map(|now| {
                let before = earlier.reasons.iter().find(|reason| reason.name == now.name)?;
                let by = now.contribution - before.contribution;
                (by != 0.0 || now.value != before.value).then(|| ReasonChange {
                    name: now.name.clone(),
                    from: before.value.clone(),
                    to: now.value.clone(),
                    contribution: by,
                })
            })
            .collect();
        reasons
            .sort_by(|a, b| b.contribution.abs().total_cmp(&a.contribution.abs()).then(a.name.cmp(&b.name)));
        Change { from: earlier.score, to: self.score, reasons }
    }
}

/// What one column's change did to the score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReasonChange {
    /// The column.
    pub name: String,
    /// Its value before.
    pub from: Words,
    /// Its value now.
    pub to: Words,
    /// Added to the log-odds by the change.
    pub contribution: f64,
}

impl ReasonChange {
    /// The change as a sentence: `Num_Sites went from 8 to 12: raises the risk strongly`.
    #[must_use]
    pub fn text(&self, lang: Lang) -> String {
        self.text_as(&self.name, lang)
    }

    /// The same, with another name for the column.
    #[must_use]
    pub fn text_as(&self, label: &str, lang: Lang) -> String {
        let effect = effect_words(self.contribution);
        let (from, to, effect) = (self.from.text(lang), self.to.text(lang), effect.text(lang));
        match lang {
            Lang::En if from == to => format!("{label} is still {to}, beside other values: {effect}"),
            Lang::Fr if from == to => {
                format!("{label} vaut toujours {to}, à côté d’autres valeurs : {effect}")
            }
            Lang::En => format!("{label} went from {from} to {to}: {effect}"),
            Lang::Fr => format!("{label} : {from} avant, {to} maintenant : {effect}"),
        }
    }
}

/// Why a score changed. The reasons' contributions sum to the difference of the log-odds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The score before.
    pub from: Score,
    /// The score now.
    pub to: Score,
    /// What changed, the weightiest first.
    pub reasons: Vec<ReasonChange>,
}

/// One field changed so that the risk falls to the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counterfactual {
    /// The column.
    pub name: String,
    /// Its value now.
    pub from: Words,
    /// Its value then.
    pub to: Words,
    /// The new value as the model reads it.
    pub to_value: f64,
    /// The probability then.
    pub probability: f64,
    /// How far: in standard deviations for numbers, 1 for a yes/no or another category.
    pub distance: f64,
}

impl Counterfactual {
    /// The change as a sentence.
    #[must_use]
    pub fn text(&self, lang: Lang) -> String {
        self.text_as(&self.name, lang)
    }

    /// The same, with another name for the column.
    #[must_use]
    pub fn text_as(&self, label: &str, lang: Lang) -> String {
        let (from, to) = (self.from.text(lang), self.to.text(lang));
        let risk = percent(self.probability, lang);
        match lang {
            Lang::En => format!("{label} at {to} instead of {from} would bring the risk to {risk}"),
            Lang::Fr => format!("{label} à {to} au lieu de {from} ramènerait le risque à {risk}"),
        }
    }
}

impl Model {
    /// Takes a score apart.
    #[must_use]
    pub fn explain(&self, row: &FeatureRow) -> Explanation {
        let mut contributions = vec![0.0; self.features().len()];
        let base_log_odds = self.contributions(row, &mut contributions);
        let mut reasons: Vec<Reason> = self
            .features()
            .iter()
            .zip(row.values())
            .zip(contributions)
            .map(|((feature, value), contribution)| Reason {
                name: feature.name.clone(),
                value: value_words(feature, *value),
                usual: value_words(feature, feature.typical),
                contribution,
                yes_no: (matches!(feature.kind, FeatureKind::Boolean) && !value.is_nan())
                    .then_some((*value > 0.5, feature.mean)),
            })
            .collect();
        // The sort is stable: equal contributions stay in the order of the columns.
        reasons.sort_by(|a, b| b.contribution.abs().total_cmp(&a.contribution.abs()));
        Explanation { score: self.score(row), base_log_odds, reasons }
    }

    /// The score if some cells were different, and what made the difference.
    ///
    /// # Errors
    /// When a name is no feature of the model, or a cell cannot be read.
    pub fn what_if(&self, row: &FeatureRow, changes: &[(&str, Option<&str>)]) -> Result<Change, ChurnError> {
        let mut other = row.clone();
        for (name, cell) in changes {
            let index = self.feature_index(name)?;
            if let (Some(slot), Some(feature)) =
                (other.values_mut().get_mut(index), self.features().get(index))
            {
                *slot = feature.read(*cell)?;
            }
        }
        Ok(self.explain(&other).changed_since(&self.explain(row)))
    }

    /// Each single-field change that brings the probability to `target` or below, the smallest first.
    ///
    /// Only fields for which `may_change` says yes are tried (nobody gets younger), and numbers stay within the
    /// range seen in training. Empty when the risk is below already, or no single change is enough.
    #[must_use]
    pub fn changes_below(
        &self,
        row: &FeatureRow,
        target: f64,
        may_change: impl Fn(&str) -> bool,
    ) -> Vec<Counterfactual> {
        if self.score(row).probability <= target {
            return Vec::new();
        }
        let mut found: Vec<Counterfactual> = self
            .features()
            .iter()
            .enumerate()
            .filter(|(_, feature)| may_change(&feature.name))
            .filter_map(|(index, feature)| self.change_of(row, index, feature, target))
            .collect();
        found.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        found
    }

    fn change_of(
        &self,
        row: &FeatureRow,
        index: usize,
        feature: &Feature,
        target: f64,
    ) -> Option<Counterfactual> {
        let now = row.values().get(index).copied()?;
        let mut trial = row.clone();
        let mut risk = |value: f64| {
            if let Some(slot) = trial.values_mut().get_mut(index) {
                *slot = value;
            }
            self.score(&trial).probability
        };
        let to_value = match &feature.kind {
            FeatureKind::Boolean => {
                let flipped = if now > 0.5 { 0.0 } else { 1.0 };
                (risk(flipped) <= target).then_some(flipped)
            }
            FeatureKind::Category { levels } => (0..levels.len())
                .map(|code| code as f64)
                .filter(|code| *code != now)
                .map(|code| (code, risk(code)))
                .filter(|(_, p)| *p <= target)
                // All levels are equally far: the least change in risk is the least claim.
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .map(|(code, _)| code),
            FeatureKind::Number { .. } | FeatureKind::Date { .. } => {
                let from = if now.is_nan() { feature.mean } else { now };
                [feature.min, feature.max]
                    .into_iter()
                    .filter_map(|end| nearest(from, end, feature.whole, &mut |v| risk(v) <= target))
                    .min_by(|a, b| (a - from).abs().total_cmp(&(b - from).abs()))
            }
        }?;
        let distance = match &feature.kind {
            FeatureKind::Number { .. } | FeatureKind::Date { .. } if !now.is_nan() => {
                (to_value - now).abs() / feature.sd.max(f64::MIN_POSITIVE)
            }
            _ => 1.0,
        };
        Some(Counterfactual {
            name: feature.name.clone(),
            from: value_words(feature, now),
            to: value_words(feature, to_value),
            to_value,
            probability: risk(to_value),
            distance,
        })
    }
}

/// The value nearest to `from`, on the way to `end`, that is good enough.
fn nearest(from: f64, end: f64, whole: bool, good: &mut impl FnMut(f64) -> bool) -> Option<f64> {
    const STEPS: u32 = 64;
    let (mut bad, mut hit) = (from, None);
    for step in 1..=STEPS {
        let value = from + (end - from) * f64::from(step) / f64::from(STEPS);
        if good(value) {
            hit = Some(value);
            break;
        }
        bad = value;
    }
    let mut hit = hit?;
    for _ in 0..40 {
        let middle = 0.5 * (bad + hit);
        if good(middle) {
            hit = middle;
        } else {
            bad = middle;
        }
    }
    if whole {
        let rounded = if end < from { hit.floor() } else { hit.ceil() };
        let within = if end < from { rounded >= end } else { rounded <= end };
        return (within && good(rounded)).then_some(rounded);
    }
    Some(hit)
}

/// A missing value, in both languages.
const UNKNOWN: (&str, &str) = ("unknown", "inconnu");

/// A feature's value as people write it.
pub(crate) fn value_words(feature: &Feature, value: f64) -> Words {
    if value.is_nan() {
        return Words::new(UNKNOWN.0, UNKNOWN.1);
    }
    match &feature.kind {
        FeatureKind::Boolean if value == 1.0 => Words::new("yes", "oui"),
        FeatureKind::Boolean if value == 0.0 => Words::new("no", "non"),
        FeatureKind::Boolean => Words::new(
            format!("yes for {}", percent(value, Lang::En)),
            format!("oui pour {}", percent(value, Lang::Fr)),
        ),
        FeatureKind::Category { .. } => match feature.level(value) {
            Some(level) => Words::new(level, level),
            None => Words::new("another value", "une autre valeur"),
        },
        FeatureKind::Date { .. } => Words::new(
            format!("{} days old", number(value, 0, Lang::En)),
            format!("vieux de {} jours", number(value, 0, Lang::Fr)),
        ),
        FeatureKind::Number { .. } => {
            // Two decimals, more for small numbers: enough to recognise the customer's own figure.
            let decimals = if value != 0.0 && value.abs() < 0.1 { 5 } else { 2 };
            Words::new(number(value, decimals, Lang::En), number(value, decimals, Lang::Fr))
        }
    }
}
