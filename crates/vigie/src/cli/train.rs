//! `vigie train`: a model from a labelled table.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::{Args, ValueEnum};
use vigie_churn::{FitOptions, Lang, Plan, PlanOptions, Role, Table, train_watched};

use super::import::delimiter;
use super::model::write_card;
use super::tables::{read_roles, read_table, write_file};
use super::{Exit, Failure, Global, Outcome, out};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vigie train customers.csv --target Churn --out model.vigie\n  \
                        vigie train customers.csv --target Churn --columns Age,Years,Num_Sites --out model.vigie\n  \
                        vigie train customers.csv --target left --positive yes --dry-run    what each column would be used for\n  \
                        vigie train customers.csv --target Churn --treatment Account_Manager --out model.vigie --card card.html\n\n\
                        Roles by hand: a file for --roles has one line a column, such as `postcode = \"category\"`; the JSON of a dry run\n\
                        serves as well.\n\n\
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
    /// Roles that you know better: TOML, or the JSON of a dry run
    #[arg(long, value_name = "FILE")]
    roles: Option<PathBuf>,
    /// Leave these columns out
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    exclude: Vec<String>,
    /// The column that names the row
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// The column that says whether the action was taken (1 or 0, yes or no)
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
    /// About how many seconds of one core choosing and judging may take; an estimate, so that the same budget gives the same model
    #[arg(long, value_name = "S", default_value_t = 40.0)]
    budget_seconds: f64,
    /// Write the model card too: .html, .json, else text
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
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
        if !(self.budget_seconds.is_finite() && self.budget_seconds > 0.0) {
            return Err(Failure::new(
                Exit::Usage,
                format!("--budget-seconds {}: must be above 0", self.budget_seconds),
            ));
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(Failure::new(
                Exit::Usage,
                format!("--threshold {}: must lie between 0 and 1", self.threshold),
            ));
        }
        let lang = Lang::from(self.lang);
        let (table, _) = read_table(&self.file, delimiter(self.delimiter)?, true)?;
        let roles = self.exclude.iter().map(|name| (name.clone(), Role::LeftOut)).collect();
        let mut options = PlanOptions {
            target: self.target.clone(),
            positive: self.positive.clone(),
            treatment: self.treatment.clone(),
            id: self.id.clone(),
            value: self.value.clone(),
            as_of: self.as_of.clone(),
            roles,
            ..PlanOptions::default()
        };
        if let Some(path) = &self.roles {
            read_roles(path, &mut options)?;
        }
        let plan = Plan::infer(&table, &options)?;
        if self.dry_run {
            return self.show(global, &table, &plan, lang);
        }
        if !global.json {
            for warning in &plan.warnings {
                out::note(format_args!("! {}", warning.words.text(lang)));
            }
        }
        let fit = FitOptions {
            columns: self.columns.clone(),
            seed: self.seed,
            threshold: self.threshold,
            budget_seconds: Some(self.budget_seconds),
            effect: true,
            source: Some(self.file.display().to_string()),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            ..FitOptions::default()
        };
        let progress = Mutex::new(out::Progress::share("training"));
        let watch = |share: f64| {
            progress.lock().unwrap_or_else(PoisonError::into_inner).set((share * out::WHOLE as f64) as u64);
        };
        let model = train_watched(&table, &plan, &fit, &watch)?;
        progress.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
        let path = self.out.as_deref().unwrap_or(Path::new("model.vigie"));
        let bytes = model.to_bytes().map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        write_file(path, &bytes)?;
        if let Some(path) = &self.card {
            write_card(model.card(), path, lang)?;
        }
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
            for warning in &plan.warnings {
                out::line(format_args!("! {}", warning.words.text(lang)))?;
            }
            out::line(format_args!("{} row(s); nothing was trained", table.rows()))?;
        }
        Ok(Exit::Ok)
    }
}
