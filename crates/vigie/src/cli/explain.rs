//! `vigie explain`: why one customer has the score it has, what changed, and what would change it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use vigie_churn::words::{number, percent, signed};
use vigie_churn::{FeatureRow, Lang, Model, Table};

use super::import::delimiter;
use super::tables::{read_model, read_table};
use super::train::Language;
use super::{Exit, Failure, Global, Outcome, labels, out};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vigie explain model.vigie new_customers.csv --row 2\n  \
                        vigie explain model.vigie --row 17                        a row of the table that the model was trained on\n  \
                        vigie explain model.vigie new_customers.csv --row 2 --set Num_Sites=8\n  \
                        vigie explain model.vigie today.csv --row 2 --before last_month.csv\n  \
                        vigie explain model.vigie new_customers.csv --row 2 --below 0.3 --may-change Num_Sites,Account_Manager\n\n\
                        Contributions are in log-odds and exact: the base and all of them add up to the score's.")]
pub(super) struct Explain {
    /// The model
    model: PathBuf,
    /// The table; default: the one that the model was trained on
    file: Option<PathBuf>,
    /// The row, counted from 1 after the header
    #[arg(long, value_name = "N")]
    row: usize,
    /// What if a column were different (may be given several times)
    #[arg(long, value_name = "COLUMN=VALUE")]
    set: Vec<String>,
    /// An earlier table: why the score of the same row changed
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// The smallest single change that brings the risk to this or below
    #[arg(long, value_name = "PROBABILITY")]
    below: Option<f64>,
    /// With --below: only these columns may change
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', requires = "below")]
    may_change: Option<Vec<String>>,
    /// The separator; default: found out
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<char>,
    /// Language of the sentences
    #[arg(long, value_enum, default_value_t = Language::En)]
    lang: Language,
}

impl Explain {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let lang = Lang::from(self.lang);
        if self.below.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(Failure::new(Exit::Usage, "--below: must lie between 0 and 1"));
        }
        let model = read_model(&self.model)?;
        let table = self.table(&model)?;
        let row = self.read_row(&model, &table.0, &table.1)?;
        let explanation = model.explain(&row);
        let score = explanation.score;
        let notes = model.notes(&row);
        let change = match (&self.before, self.set.as_slice()) {
            (Some(_), [_, ..]) => {
                return Err(Failure::new(
                    Exit::Usage,
                    "--before and --set answer two questions: ask one at a time",
                ));
            }
            (Some(path), []) => {
                let (earlier, _) = read_table(path, delimiter(self.delimiter)?, true)?;
                let before = self.read_row(&model, path, &earlier)?;
                Some(explanation.changed_since(&model.explain(&before)))
            }
            (None, []) => None,
            (None, settings) => {
                let changes: Vec<(&str, Option<&str>)> = settings
                    .iter()
                    .map(|text| {
                        text.split_once('=').map(|(name, value)| (name, Some(value))).ok_or_else(|| {
                            Failure::new(Exit::Usage, format!("--set {text}: write it as COLUMN=VALUE"))
                        })
                    })
                    .collect::<Result<_, _>>()?;
                Some(model.what_if(&row, &changes)?)
            }
        };
        if let Some(names) = &self.may_change {
            names.iter().try_for_each(|name| model.feature_index(name).map(drop))?;
        }
        let smallest = self.below.map(|target| {
            model.changes_below(&row, target, |name| {
                self.may_change.as_ref().is_none_or(|names| names.iter().any(|other| other == name))
            })
        });
        if global.json {
            let document = json!({
                "model": model.id(), "row": self.row, "explanation": explanation, "notes": notes, "change": change,
                "changes_below": smallest,
            });
            let text = serde_json::to_string_pretty(&document).map_err(|error| {
                Failure::new(Exit::Failure, format!("the reasons cannot be shown: {error}"))
            })?;
            out::line(text)?;
            return Ok(Exit::Ok);
        }
        let threshold = percent(model.threshold(), lang);
        let risk = percent(score.probability, lang);
        out::line(match lang {
            Lang::En => {
                format!("Row {}: {risk}, {} (threshold {threshold})", self.row, score.verdict.text(lang))
            }
            Lang::Fr => {
                format!("Ligne {} : {risk}, {} (seuil {threshold})", self.row, score.verdict.text(lang))
            }
        })?;
        let contribution = |value: f64| signed(value, 3, lang);
        let mut rows = vec![vec![
            number(explanation.base_log_odds, 3, lang),
            match lang {
                Lang::En => "the usual customer".to_owned(),
                Lang::Fr => "le client ordinaire".to_owned(),
            },
        ]];
        rows.extend(explanation.reasons.iter().map(|reason| {
            vec![contribution(reason.contribution), reason.text_with(&labels::label(&reason.name), lang)]
        }));
        rows.push(vec![
            number(score.log_odds, 3, lang),
            match lang {
                Lang::En => format!("in all: {risk}"),
                Lang::Fr => format!("en tout : {risk}"),
            },
        ]);
        let heads = if lang == Lang::En { ["LOG-ODDS", "WHY"] } else { ["LOG-ODDS", "POURQUOI"] };
        out::table(&heads, &rows)?;
        for note in &notes {
            out::line(format_args!("! {}", named(note.text(lang), &model, lang)))?;
        }
        if let Some(change) = change {
            let (from, to) = (percent(change.from.probability, lang), percent(change.to.probability, lang));
            out::line(match lang {
                Lang::En => format!("From {from} to {to}:"),
                Lang::Fr => format!("De {from} à {to} :"),
            })?;
            for reason in &change.reasons {
                let text = reason.text_as(&labels::name(&reason.name, lang), lang);
                out::line(format_args!("  {} {text}", contribution(reason.contribution)))?;
            }
        }
        if let Some(smallest) = smallest {
            if smallest.is_empty() {
                let below = score.probability <= self.below.unwrap_or(0.0);
                out::line(match (lang, below) {
                    (Lang::En, true) => "The risk is as low already.",
                    (Lang::Fr, true) => "Le risque est déjà aussi bas.",
                    (Lang::En, false) => "No single change is enough.",
                    (Lang::Fr, false) => "Aucun changement seul n’y suffit.",
                })?;
            }
            for change in smallest {
                out::line(format_args!("  {}", change.text_as(&labels::name(&change.name, lang), lang)))?;
            }
        }
        Ok(Exit::Ok)
    }

    /// The table that was named, or the one that the model was trained on, if it is still the same.
    fn table(&self, model: &Model) -> Result<(PathBuf, Table), Failure> {
        if let Some(path) = &self.file {
            return Ok((path.clone(), read_table(path, delimiter(self.delimiter)?, true)?.0));
        }
        let Some(source) = model.card().source.as_deref() else {
            return Err(Failure::new(
                Exit::Usage,
                "the model does not say which table it was trained on: name one, as in `vigie explain model.vigie customers.csv --row 1`",
            ));
        };
        let path = PathBuf::from(source);
        let (table, _) = read_table(&path, delimiter(self.delimiter)?, true).map_err(|failure| {
            Failure::new(
                failure.exit,
                format!(
                    "{}; this is the table that the model was trained on: name another one",
                    failure.message
                ),
            )
        })?;
        if table.hash() != model.card().data_hash {
            out::note(format_args!("{source}: no longer the table that the model was trained on"));
        }
        Ok((path, table))
    }

    fn read_row(&self, model: &Model, path: &Path, table: &Table) -> Result<FeatureRow, Failure> {
        super::score::check_columns(model, path, &table.names())?;
        let index = self.row.checked_sub(1).filter(|index| *index < table.rows()).ok_or_else(|| {
            Failure::new(
                Exit::NothingFound,
                format!("{} has rows 1 to {}: there is no row {}", path.display(), table.rows(), self.row),
            )
        })?;
        model.row(|name| table.column(name).ok().and_then(|column| column.cell(index))).map_err(|error| {
            Failure::new(Exit::BadInput, format!("{}, row {}: {error}", path.display(), self.row))
        })
    }
}

/// A note begins with its column: its name for people stands in.
fn named(text: &str, model: &Model, lang: Lang) -> String {
    let column = model.features().iter().find(|feature| text.starts_with(feature.name.as_str()));
    match column {
        Some(feature) => text.replacen(&feature.name, &labels::name(&feature.name, lang), 1),
        None => text.to_owned(),
    }
}
