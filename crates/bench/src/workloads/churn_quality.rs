//! `churn-quality`: log-loss on rows not seen, beside tuned LightGBM and tuned logistic regression on the same folds.
//!
//! Tables of many shapes (see `tables`), and some that come with scikit-learn. For each fold the whole of `vigie train` runs on the
//! other rows: roles, choice of model, calibration. The baselines are tuned by cross-validation among the same rows. Nothing is
//! chosen by looking at the rows that are judged. Python with lightgbm and scikit-learn is looked for as in `churn`.

pub mod tables;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde::Deserialize;
use vigie_churn::{FitOptions, Plan, PlanOptions, Table, metrics, train};

use super::churn::python_with;
use crate::measure::{Figure, Meter};
use tables::{Chance, Made, TABLES, make};

/// Tables of scikit-learn: name there, and here.
const BUNDLED: [(&str, &str); 4] = [
    ("cancer", "bundled-cancer"),
    ("digits", "bundled-digits"),
    ("diabetes", "bundled-diabetes"),
    ("wine", "bundled-wine"),
];

/// Compares log-losses.
#[derive(Debug, Clone, Args)]
pub struct ChurnQuality {
    /// Only tables whose name begins so.
    #[arg(long, default_value = "")]
    pub table: String,
    /// How many folds; tables of 20,000 rows or more get 3 at most.
    #[arg(long, default_value_t = 5)]
    pub folds: usize,
    /// Decides the tables and the folds.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Seconds that choosing a model may take, a fold.
    #[arg(long)]
    pub budget_seconds: Option<f64>,
    /// Keep tables, folds and the baselines' losses in this folder, and take the losses from there the next time.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Do not run the baselines.
    #[arg(long)]
    pub alone: bool,
}

/// What the baselines' script prints.
#[derive(Debug, Deserialize)]
struct Baselines {
    lightgbm: Vec<f64>,
    logistic: Vec<f64>,
    lightgbm_s: f64,
    logistic_s: f64,
}

impl ChurnQuality {
    /// Runs it.
    pub fn run(&self) -> Result<Vec<Figure>> {
        let python = python_with("import lightgbm, numpy, sklearn");
        if python.is_none() && !self.alone {
            eprintln!(
                "vigie-bench churn-quality: no Python with lightgbm and scikit-learn: the comparison is left out \
                 (python3 -m venv $VIGIE_CACHE/lightgbm && $VIGIE_CACHE/lightgbm/bin/pip install lightgbm scikit-learn)"
            );
        }
        let temporary = tempfile::tempdir().context("making a folder for the tables")?;
        let folder = self.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut figures = Vec::new();
        for (name, rows, maker) in TABLES {
            if name.starts_with(&self.table) {
                let made = make(name, rows, maker, self.seed);
                figures.push(self.compare(&made, &folder, python.as_deref())?);
            }
        }
        for (theirs, name) in BUNDLED {
            let Some(python) = python.as_deref().filter(|_| name.starts_with(&self.table)) else { continue };
            let path = folder.join(format!("{name}.csv"));
            let output = run(python, &["--bundled".as_ref(), theirs.as_ref(), path.as_os_str()])?;
            drop(output);
            let made = read(name, &path)?;
            figures.push(self.compare(&made, &folder, Some(python))?);
        }
        Ok(figures)
    }

    fn compare(&self, made: &Made, folder: &Path, python: Option<&Path>) -> Result<Figure> {
        let y = made.answers();
        let splits = if y.len() < 20_000 { self.folds } else { self.folds.min(3) };
        let folds = folds(&y, splits, self.seed);
        let meter = Meter::start()?;
        let mut losses = Vec::new();
        let mut chosen = Vec::new();
        for test in &folds {
            let mut held = vec![false; y.len()];
            for row in test {
                if let Some(slot) = held.get_mut(*row) {
                    *slot = true;
                }
            }
            let learn: Vec<usize> = (0..y.len()).filter(|row| held.get(*row) == Some(&false)).collect();
            let (loss, name) = self.ours(&made.table(&learn)?, &made.table(test)?)?;
            losses.push(loss);
            chosen.push(name);
        }
        let mut figure = meter.stop("churn-quality", "none", y.len() as u64)?;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let (ours, seconds) = (mean(&losses), figure.wall_s / folds.len() as f64);
        figure = figure
            .with("table", made.name)
            .with("columns", made.names.len() - 1)
            .with("leavers", mean(&y))
            .with("folds", folds.len())
            .with("log_loss", ours)
            .with("seconds_a_fold", seconds)
            .with("chosen", chosen.join(" | "));
        let told = folder.join(format!("{}-{}-{}.json", made.name, self.seed, folds.len()));
        if let (Some(python), false, false) = (python, self.alone, told.exists()) {
            let text = baselines(python, made, &folds, folder)?;
            std::fs::write(&told, text).with_context(|| format!("writing {}", told.display()))?;
        }
        if told.exists() {
            let bytes = std::fs::read(&told).with_context(|| format!("reading {}", told.display()))?;
            let told: Baselines =
                serde_json::from_slice(&bytes).context("reading what the baselines' script printed")?;
            let better: Vec<f64> = told.lightgbm.iter().zip(&told.logistic).map(|(a, b)| a.min(*b)).collect();
            let (boosted, straight) = (mean(&told.lightgbm), mean(&told.logistic));
            let wins = losses.iter().zip(&better).filter(|(ours, best)| ours <= best).count();
            figure = figure
                .with("lightgbm", boosted)
                .with("logistic", straight)
                .with("behind", ours - boosted.min(straight))
                .with("folds_won", wins)
                .with("lightgbm_s", told.lightgbm_s)
                .with("logistic_s", told.logistic_s);
        }
        // Tables take minutes: each is told as soon as it is known.
        eprintln!("{}", figure.to_json());
        Ok(figure)
    }

    fn ours(&self, learn: &Table, test: &Table) -> Result<(f64, String)> {
        let plan = Plan::infer(learn, &PlanOptions::for_target("churn"))?;
        let options = FitOptions { replicates: 20, ..FitOptions::default() };
        let model = train(learn, &plan, &options)?;
        let (mut y, mut p) = (Vec::new(), Vec::new());
        let target = test.column("churn")?;
        for row in 0..test.rows() {
            let values = model.row(|name| test.column(name).ok().and_then(|column| column.cell(row)))?;
            p.push(model.score(&values).probability);
            y.push(f64::from(u8::from(target.cell(row) == Some("1"))));
        }
        let name = model.card().chosen.en.split(':').next().unwrap_or_default().to_owned();
        let tried: Vec<String> =
            model.card().candidates.iter().map(|candidate| format!("{:.5}", candidate.log_loss)).collect();
        Ok((metrics::log_loss(&y, &p), format!("{name} of {}", tried.join(" "))))
    }
}

/// Stratified folds: the rows that each is judged on.
fn folds(y: &[f64], count: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut chance = Chance::new(seed ^ 0xF01D);
    let mut keyed: Vec<(bool, u64, usize)> =
        y.iter().enumerate().map(|(row, y)| (*y > 0.5, (chance.unit() * 1e15) as u64, row)).collect();
    keyed.sort_unstable();
    let count = count.max(2);
    let mut folds = vec![Vec::new(); count];
    for (turn, (_, _, row)) in keyed.into_iter().enumerate() {
        if let Some(fold) = folds.get_mut(turn % count) {
            fold.push(row);
        }
    }
    folds.iter_mut().for_each(|fold| fold.sort_unstable());
    folds
}

fn baselines(python: &Path, made: &Made, folds: &[Vec<usize>], folder: &Path) -> Result<Vec<u8>> {
    let (table, parts) =
        (folder.join(format!("{}.csv", made.name)), folder.join(format!("{}.folds", made.name)));
    let mut text = made.names.join(",");
    text.push('\n');
    for row in &made.rows {
        text.push_str(&row.join(","));
        text.push('\n');
    }
    std::fs::write(&table, text).with_context(|| format!("writing {}", table.display()))?;
    std::fs::write(&parts, serde_json::to_vec(folds)?)
        .with_context(|| format!("writing {}", parts.display()))?;
    run(python, &[table.as_os_str(), parts.as_os_str()])
}

fn run(python: &Path, arguments: &[&std::ffi::OsStr]) -> Result<Vec<u8>> {
    let output = Command::new(python)
        .args(["-c", include_str!("churn_quality/baselines.py")])
        .args(arguments)
        .output()
        .with_context(|| format!("running the baselines with {}", python.display()))?;
    anyhow::ensure!(
        output.status.success(),
        "the baselines failed with {}: {}",
        python.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

fn read(name: &'static str, path: &Path) -> Result<Made> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<String>>());
    let names = lines.next().context("the table is empty")?;
    Ok(Made { name, names, rows: lines.collect() })
}
