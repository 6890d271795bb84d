//! `vigie evaluate`: how good a model is on a table that it was not trained on.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vigie_churn::drift::DriftVerdict;
use vigie_churn::words::number;
use vigie_churn::{FeatureRow, Interval, Lang, Metrics};

use super::import::delimiter;
use super::tables::{read_model, read_table};
use super::train::Language;
use super::{Exit, Failure, Global, Outcome, labels, out};

/// So many bad rows are named.
const NAMED: usize = 20;
/// Bootstrap replicates behind each interval.
const REPLICATES: usize = 400;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vigie evaluate model.vigie outcomes.csv\n  \
                        vigie evaluate model.vigie outcomes.csv --json\n\n\
                        The table needs the model's columns and the target's. Rows whose outcome is blank are left out; rows that cannot be\n\
                        read are named and left out, and the exit code is 3 then.")]
pub(super) struct Evaluate {
    /// The model
    model: PathBuf,
    /// The table, with the outcomes
    file: PathBuf,
    /// Seed of the intervals
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// The separator; default: found out
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<char>,
    /// Language of the report
    #[arg(long, value_enum, default_value_t = Language::En)]
    lang: Language,
}

impl Evaluate {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let lang = Lang::from(self.lang);
        let model = read_model(&self.model)?;
        let (table, unread) = read_table(&self.file, delimiter(self.delimiter)?, false)?;
        super::score::check_columns(&model, &self.file, &table.names())?;
        let progress = out::Progress::spinner("judging");
        let (metrics, bad) = model.judge_readable(&table, REPLICATES, self.seed)?;
        let rows: Vec<FeatureRow> = (0..table.rows())
            .filter_map(|row| {
                model.row(|name| table.column(name).ok().and_then(|column| column.cell(row))).ok()
            })
            .collect();
        let drift = model.drift(&rows);
        progress.finish();
        for (row, error) in bad.iter().take(NAMED) {
            out::note(format_args!("{}, row {}: {error}; left out", self.file.display(), row + 1));
        }
        let skipped = bad.len() as u64 + unread;
        if global.json {
            let document = json!({
                "model": model.id(), "metrics": metrics, "training": model.card().metrics, "drift": drift, "rows_left_out": skipped,
            });
            let text = serde_json::to_string_pretty(&document).map_err(|error| {
                Failure::new(Exit::Failure, format!("the figures cannot be shown: {error}"))
            })?;
            out::line(text)?;
        } else {
            show(&metrics, model.card().metrics.as_ref(), lang)?;
            for column in
                drift.iter().filter(|c| !matches!(c.verdict, DriftVerdict::Stable | DriftVerdict::TooFew))
            {
                let label = labels::name(&column.name, lang);
                out::line(format_args!("! {}", column.words().text(lang).replacen(&column.name, &label, 1)))?;
            }
            if skipped > 0 {
                out::note(match lang {
                    Lang::En => format!("{skipped} row(s) left out"),
                    Lang::Fr => format!("{skipped} ligne(s) écartée(s)"),
                });
            }
        }
        Ok(if skipped > 0 { Exit::BadInput } else { Exit::Ok })
    }
}

fn show(metrics: &Metrics, training: Option<&Metrics>, lang: Lang) -> std::io::Result<()> {
    let say = |en: &'static str, fr: &'static str| if lang == Lang::En { en } else { fr };
    let count = |n: usize| number(n as f64, 0, lang);
    out::line(format_args!(
        "{} {}, {} {}",
        count(metrics.rows),
        say("rows with a known outcome", "lignes dont l’issue est connue"),
        count(metrics.positives),
        say("left", "départs")
    ))?;
    let figure = |name: &str, of: &dyn Fn(&Metrics) -> Interval, decimals: usize| {
        let Interval { estimate, low, high } = of(metrics);
        let say = |v: f64| number(v, decimals, lang);
        let before = training.map_or_else(String::new, |metrics| say(of(metrics).estimate));
        vec![name.to_owned(), say(estimate), format!("[{}, {}]", say(low), say(high)), before]
    };
    let rows = [
        figure("AUC", &|m| m.auc, 3),
        figure(say("log-loss", "perte logarithmique"), &|m| m.log_loss, 3),
        figure(say("Brier score", "score de Brier"), &|m| m.brier, 4),
        figure(say("average precision", "précision moyenne"), &|m| m.average_precision, 3),
        figure(say("calibration error", "erreur de calibration"), &|m| m.calibration_error, 3),
        figure(
            say("lift in the riskiest tenth", "lift du dixième le plus à risque"),
            &|m| m.lift_top_decile,
            2,
        ),
        figure(
            say("leavers found in that tenth", "départs trouvés dans ce dixième"),
            &|m| m.gain_top_decile,
            2,
        ),
        figure(say("accuracy at the threshold", "exactitude au seuil"), &|m| m.confusion.accuracy, 3),
        figure(say("precision at the threshold", "précision au seuil"), &|m| m.confusion.precision, 2),
        figure(say("recall at the threshold", "rappel au seuil"), &|m| m.confusion.recall, 2),
    ];
    out::table(
        &[
            say("FIGURE", "MESURE"),
            say("HERE", "ICI"),
            say("95% INTERVAL", "INTERVALLE À 95 %"),
            say("IN TRAINING", "À L’APPRENTISSAGE"),
        ],
        &rows,
    )
}
