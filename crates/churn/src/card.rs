//! The model card: where a model comes from, what was chosen and why, and how good it is, as text, JSON and HTML.

mod html;

use crate::{
    effect::EffectReport,
    metrics::{Interval, Metrics},
    plan::Plan,
    words::{Lang, Words, number, percent},
};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A kind of model that was tried, and how it did on rows it had not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// What it is.
    pub name: Words,
    /// Mean log-loss over the folds.
    pub log_loss: f64,
    /// Mean difference to the best candidate, and one standard error of it.
    pub behind: f64,
    /// One standard error of that difference.
    pub standard_error: f64,
}

/// One coefficient in the table's own units, where the model is a straight line in that column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coefficient {
    /// The column.
    pub name: String,
    /// Log-odds per unit, before calibration.
    pub per_unit: f64,
    /// Log-odds per standard deviation, before calibration.
    pub per_sd: f64,
}

/// How much a column moves scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The column.
    pub name: String,
    /// Mean size of its contribution to the log-odds, over the training rows, whatever its direction.
    pub mean_size: Interval,
}

/// All that is known about a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Version of this library.
    pub library_version: String,
    /// The seed of folds and bootstrap.
    pub seed: u64,
    /// Fingerprint of the training table ([`crate::table::Table::hash`]).
    pub data_hash: String,
    /// Rows learnt from.
    pub rows: usize,
    /// How many of them left.
    pub positives: usize,
    /// What the model is and why it was chosen.
    pub chosen: Words,
    /// What else the reader should know about how it was trained.
    pub notes: Vec<Words>,
    /// The penalty per row, 0 for none.
    pub penalty: f64,
    /// The candidates, the simplest first.
    pub candidates: Vec<Candidate>,
    /// The constant on the raw scale: log-odds where each column is 0 (straight lines only).
    pub constant: Option<f64>,
    /// The coefficients of straight lines.
    pub coefficients: Vec<Coefficient>,
    /// Figures on unseen rows; absent when the fit was asked for without judging it.
    pub metrics: Option<Metrics>,
    /// The plan of the training table: each column's role and why.
    pub plan: Plan,
    /// How much each column moves scores, the most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub importance: Vec<Importance>,
    /// Whether the action helps, where a treatment was named and it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<EffectReport>,
    /// Where the training table came from, as the caller named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl ModelCard {
    /// The card as JSON, indented.
    #[must_use]
    pub fn json(&self) -> String {
        // Every number on a card is finite and every key a string, so this cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The card as text.
    #[must_use]
    pub fn text(&self, lang: Lang) -> String {
        let say = |en: &'static str, fr: &'static str| if lang == Lang::En { en } else { fr };
        let mut out = String::new();
        let mut line = |text: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{text}");
        };
        let share = percent(self.positives as f64 / self.rows.max(1) as f64, lang);
        line(format!("{}: {}", say("Model", "Modèle"), self.chosen.text(lang)));
        line(format!(
            "{}: {} {}, {} = {}: {} ({share})",
            say("Learnt from", "Appris sur"),
            self.rows,
            say("rows", "lignes"),
            self.plan.target,
            self.plan.positive,
            self.positives,
        ));
        if let Some(metrics) = &self.metrics {
            line(format!(
                "{} {} x {} {}",
                say("Quality on rows not seen,", "Qualité sur des lignes non vues,"),
                metrics.repeats,
                metrics.folds,
                say("folds, with 95% intervals:", "plis, avec intervalles à 95 % :"),
            ));
            let mut row = |name: &str, interval: &Interval, decimals: usize| {
                line(format!(
                    "  {name:<34} {:>7}  [{}, {}]",
                    number(interval.estimate, decimals, lang),
                    number(interval.low, decimals, lang),
                    number(interval.high, decimals, lang)
                ));
            };
            row("AUC", &metrics.auc, 3);
            row(say("log-loss", "perte logarithmique"), &metrics.log_loss, 3);
            row(say("Brier score", "score de Brier"), &metrics.brier, 4);
            row(say("average precision", "précision moyenne"), &metrics.average_precision, 3);
            row(say("calibration error", "erreur de calibration"), &metrics.calibration_error, 3);
            row(
                say("lift in the riskiest tenth", "lift du dixième le plus à risque"),
                &metrics.lift_top_decile,
                2,
            );
            row(
                say("leavers found in that tenth", "départs trouvés dans ce dixième"),
                &metrics.gain_top_decile,
                2,
            );
            row(say("precision at the threshold", "précision au seuil"), &metrics.confusion.precision, 2);
            row(say("recall at the threshold", "rappel au seuil"), &metrics.confusion.recall, 2);
        }
        if !self.importance.is_empty() {
            line(
                say("What moves the scores, in log-odds:", "Ce qui fait les scores, en log-odds :")
                    .to_owned(),
            );
            for column in self.importance.iter().take(10) {
                let Interval { estimate, low, high } = column.mean_size;
                line(format!(
                    "  {:<34} {:>7}  [{}, {}]",
                    column.name,
                    number(estimate, 3, lang),
                    number(low, 3, lang),
                    number(high, 3, lang)
                ));
            }
        }
        if let Some(effect) = &self.effect {
            line(format!("{} {}", say("Action:", "Action :"), effect.text(lang)));
        }
        line(say("Columns:", "Colonnes :").to_owned());
        for column in &self.plan.columns {
            line(format!("  {:<24} {:<10} {}", column.name, column.role.name(), column.reason.text(lang)));
        }
        for note in &self.notes {
            line(format!("! {}", note.text(lang)));
        }
        for warning in &self.plan.warnings {
            line(format!("! {}", warning.words.text(lang)));
        }
        line(format!(
            "{} {}, {} {}, vigie-churn {}",
            say("Data", "Données"),
            self.data_hash,
            say("seed", "graine"),
            self.seed,
            self.library_version
        ));
        out
    }
}
