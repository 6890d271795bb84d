//! `vigie train`: a model from a labelled table.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use vigie_churn::{FitOptions, Lang, Plan, PlanOptions, Role, Table, train};
use vigie_sources::csv::read_records;

use super::import::delimiter;
use super::{Exit, Failure, Global, Outcome, out};
use crate::model::write_whole;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vigie train customers.csv --target Churn --out model.vigie\n  \
                        vigie train customers.csv --target Churn --columns Age,Years,Num_Sites --out model.vigie\n  \
                        vigie train customers.csv --target left --positive yes --dry-run    what each column would be used for\n\n\
                        The model is judged on rows that it has not seen; every figure comes with its interval.")]
pub(super) struct Train {
    /// The labelled table
    file: PathBuf,
    /// The column that says who left
    #[arg(long, value_name = "COLUMN")]
    target: String,
    /// Where the model goes
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// The target's value that means "left"; default: found out
    #[arg(long, value_name = "VALUE")]
    positive: Option<String>,
    /// Learn from these columns only
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// Leave these columns out
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    exclude: Vec<String>,
    /// The column that names the row
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// The column that says whether the action was taken
    #[arg(long, value_name = "COLUMN")]
    treatment: Option<String>,
    /// The column that says what a customer is worth
    #[arg(long, value_name = "COLUMN")]
    value: Option<String>,
    /// The date at which ages of dates are counted (YYYY-MM-DD)
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
    /// Probability from which the verdict is "leaves"
    #[arg(long, default_value_t = 0.5)]
    threshold: f64,
    /// Seed of folds and intervals
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// The separator; default: found out
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<char>,
    /// Say what each column would be used for, and train nothing
    #[arg(long)]
    dry_run: bool,
    /// Language of the report
    #[arg(long, value_enum, default_value_t = Language::En)]
    lang: Language,
}

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// English
    En,
    /// French
    Fr,
}

impl From<Language> for Lang {
    fn from(language: Language) -> Self {
        match language {
            Language::En => Self::En,
            Language::Fr => Self::Fr,
        }
    }
}

impl Train {
    pub(super) fn run(self, global: &Global) -> Outcome {
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(Failure::new(
                Exit::Usage,
                format!("--threshold {}: must lie between 0 and 1", self.threshold),
            ));
        }
        let lang = Lang::from(self.lang);
        let table = read_table(&self.file, delimiter(self.delimiter)?)?;
        let roles = self.exclude.iter().map(|name| (name.clone(), Role::LeftOut)).collect();
        let options = PlanOptions {
            target: self.target.clone(),
            positive: self.positive.clone(),
            treatment: self.treatment.clone(),
            id: self.id.clone(),
            value: self.value.clone(),
            as_of: self.as_of.clone(),
            roles,
        };
        let plan = Plan::infer(&table, &options)?;
        if self.dry_run {
            return self.show(global, &table, &plan, lang);
        }
        let progress = out::Progress::spinner("training");
        let fit = FitOptions {
            columns: self.columns.clone(),
            seed: self.seed,
            threshold: self.threshold,
            ..FitOptions::default()
        };
        let model = train(&table, &plan, &fit)?;
        progress.finish();
        let path = self.out.as_deref().unwrap_or(Path::new("model.vigie"));
        let bytes = model.to_bytes().map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        std::path::absolute(path).and_then(|whole| write_whole(&whole, &bytes)).map_err(|error| {
            Failure::new(
                Exit::Failure,
                format!(
                    "{}: cannot be written: {error}; check the folder's permissions and the free space",
                    path.display()
                ),
            )
        })?;
        if global.json {
            out::line(model.card().json())?;
        } else {
            out::line(model.card().text(lang))?;
            out::line(format_args!("model {} written to {}", model.id(), path.display()))?;
        }
        Ok(Exit::Ok)
    }

    fn show(&self, global: &Global, table: &Table, plan: &Plan, lang: Lang) -> Outcome {
        if global.json {
            let text = serde_json::to_string_pretty(plan)
                .map_err(|error| Failure::new(Exit::Failure, format!("the plan cannot be shown: {error}")))?;
            out::line(text)?;
        } else {
            let rows: Vec<Vec<String>> = plan
                .columns
                .iter()
                .map(|column| {
                    let left_out = column.role.is_feature()
                        && self.columns.as_ref().is_some_and(|only| !only.contains(&column.name));
                    let role = if left_out { "left out (--columns)" } else { column.role.name() };
                    vec![
                        column.name.clone(),
                        role.to_owned(),
                        column.missing.to_string(),
                        column.reason.text(lang).to_owned(),
                    ]
                })
                .collect();
            out::table(&["COLUMN", "ROLE", "MISSING", "WHY"], &rows)?;
            out::line(format_args!("{} row(s); nothing was trained", table.rows()))?;
        }
        Ok(Exit::Ok)
    }
}

/// Reads a whole table; a bad row is an error, because a model from half a table would not be the one asked for.
fn read_table(path: &Path, delimiter: Option<u8>) -> Result<Table, Failure> {
    let records = read_records(path, delimiter)?;
    for note in records.notes() {
        out::note(format_args!("{}: {note}", path.display()));
    }
    let mut table = Table::new(records.names().iter().cloned())?;
    let mut noted = 0_u64;
    for record in records {
        let record =
            record.map_err(|error| Failure::new(Exit::BadInput, format!("{}, {error}", path.display())))?;
        noted += u64::from(!record.notes.is_empty());
        let cells: Vec<Option<&str>> = record.cells.iter().map(|cell| Some(cell.as_str())).collect();
        table.push_row(&cells)?;
    }
    if noted > 0 {
        out::note(format_args!(
            "{}: {noted} row(s) with a surplus comma or in Latin-1 were read all the same",
            path.display()
        ));
    }
    Ok(table)
}
