//! `churn`: boosted trees on a made-up table of 20 columns (4 of them categories, some cells blank): training, one row,
//! batches, exact reasons; and beside it LightGBM on the same rows where Python has it.
//!
//! All figures are of one thread. LightGBM is looked for in `$VIGIE_CACHE/lightgbm` (`python3 -m venv
//! $VIGIE_CACHE/lightgbm && $VIGIE_CACHE/lightgbm/bin/pip install lightgbm`), then in `python3`.

use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use vigie_churn::metrics;
use vigie_churn::trees::{
    Trees,
    bins::{Binned, Kind},
    boost::{BoostOptions, boost},
};

use crate::measure::{Figure, Meter};

const COLUMNS: usize = 20;
/// The columns from this one on are categories.
const CATEGORIES: usize = 16;

/// Trains, scores and explains.
#[derive(Debug, Clone, Args)]
pub struct Churn {
    /// How many rows to learn from; as many again are scored.
    #[arg(long, default_value_t = 100_000)]
    pub rows: usize,
    /// How many trees, of 31 leaves each.
    #[arg(long, default_value_t = 100)]
    pub trees: usize,
    /// How often training and scoring of batches are repeated; the best counts, for both programs.
    #[arg(long, default_value_t = 5)]
    pub repeats: usize,
    /// Do not run LightGBM.
    #[arg(long)]
    pub alone: bool,
}

/// Columns to learn from, rows to be scored, and both answers.
struct Data {
    columns: Vec<Vec<f64>>,
    y: Vec<f64>,
    /// Row by row.
    unseen: Vec<f64>,
    unseen_y: Vec<f64>,
}

impl Data {
    fn new(rows: usize) -> Self {
        let mut state = 88_172_645_463_325_252u64;
        let mut unit = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut data = Self {
            columns: vec![Vec::new(); COLUMNS],
            y: Vec::new(),
            unseen: Vec::new(),
            unseen_y: Vec::new(),
        };
        for row in 0..2 * rows {
            let mut x: [f64; COLUMNS] = std::array::from_fn(|column| {
                let u = unit();
                match column {
                    16 => (8.0 * u * u).floor(),
                    17 => (20.0 * u * u).floor(),
                    18 => (60.0 * u * u).floor(),
                    19 => (3.0 * u * u).floor(),
                    _ => (u * 1e4).round() / 100.0,
                }
            });
            let [a, b, c, d, e, f, g, h, .., small, _, large, _] = x;
            let log_odds =
                0.03 * (a - 50.0) + 1.5 * (b / 15.0).sin() + if c > 60.0 && d < 40.0 { 1.2 } else { 0.0 }
                    - 0.0006 * (e - 50.0) * (f - 30.0)
                    + 0.01 * g
                    - 0.4 * (h / 20.0).floor() % 2.0
                    + 0.4 * (small * 7.0 % 5.0 - 2.0)
                    + 0.15 * (large * 13.0 % 11.0 - 5.0)
                    - 1.5;
            let y = f64::from(u8::from(unit() < 1.0 / (1.0 + (-log_odds).exp())));
            for (column, value) in x.iter_mut().enumerate() {
                if matches!(column, 0 | 8..12) && unit() < 0.1 {
                    *value = f64::NAN;
                }
            }
            if row < rows {
                data.columns.iter_mut().zip(x).for_each(|(column, value)| column.push(value));
                data.y.push(y);
            } else {
                data.unseen.extend(x);
                data.unseen_y.push(y);
            }
        }
        data
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.unseen.chunks_exact(COLUMNS)
    }
}

impl Churn {
    /// Runs it.
    pub fn run(&self) -> Result<Vec<Figure>> {
        let data = Data::new(self.rows);
        let repeats = self.repeats.max(1);
        let (trees, train) = best_of(repeats, || self.train(&data))?;
        let scores: Vec<f64> = data.rows().map(|row| trees.score(row)).collect();
        let auc = metrics::auc(&data.unseen_y, &scores).context("the made-up answers are all the same")?;
        let train = train.with("trees", trees.trees().len()).with("auc", auc);

        let meter = Meter::start()?;
        let mut nanoseconds: Vec<u64> = data
            .rows()
            .map(|row| {
                let start = Instant::now();
                black_box(trees.score(black_box(row)));
                start.elapsed().as_nanos() as u64
            })
            .collect();
        let one = meter.stop("churn-score-one", "none", self.rows as u64)?;
        nanoseconds.sort_unstable();
        let share = |part: f64| {
            let at = ((nanoseconds.len() as f64 - 1.0) * part) as usize;
            nanoseconds.get(at).copied().unwrap_or_default() as f64 / 1e3
        };
        let one = one.with("p50_us", share(0.5)).with("p99_us", share(0.99)).with("p999_us", share(0.999));

        let (_, batch) = best_of(repeats, || {
            let meter = Meter::start()?;
            let mut sum = 0.0;
            // Several times over: processor time is counted in hundredths of a second.
            for _ in 0..5 {
                sum += data.rows().map(|row| trees.score(black_box(row))).sum::<f64>();
            }
            black_box(sum);
            Ok(((), meter.stop("churn-score-batch", "none", 5 * self.rows as u64)?))
        })?;

        let mut parts = vec![0.0; COLUMNS];
        let explained = self.rows.min(20_000);
        let (_, reasons) = best_of(repeats, || {
            let meter = Meter::start()?;
            for row in data.rows().take(explained) {
                parts.fill(0.0);
                trees.add_contributions(black_box(row), 1.0, &mut parts);
                black_box(&parts);
            }
            Ok(((), meter.stop("churn-reasons", "none", explained as u64)?))
        })?;
        let mut figures = vec![train, one, batch, reasons];
        if !self.alone {
            figures.extend(self.lightgbm(&data, auc, &figures)?);
        }
        Ok(figures)
    }

    fn train(&self, data: &Data) -> Result<(Trees, Figure)> {
        let kinds: Vec<Kind> =
            (0..COLUMNS).map(|c| if c < CATEGORIES { Kind::Numbers } else { Kind::Codes }).collect();
        let rows: Vec<usize> = (0..self.rows).collect();
        let meter = Meter::start()?;
        let binned = Binned::learn(&data.columns, &kinds, &rows, (0..COLUMNS).collect());
        let options = BoostOptions { trees: self.trees, ..BoostOptions::default() };
        let boosted = boost(&binned, &data.y, &rows, &[], None, &options).map_err(anyhow::Error::msg)?;
        let figure = meter.stop("churn-train", "none", self.rows as u64)?;
        Ok((boosted.trees, figure.with("columns", COLUMNS)))
    }

    /// The same in LightGBM, and how many times as long it took.
    fn lightgbm(&self, data: &Data, auc: f64, own: &[Figure]) -> Result<Option<Figure>> {
        let Some(python) = python_with("import lightgbm, numpy") else {
            eprintln!(
                "vigie-bench churn: no Python with LightGBM: the comparison is left out (python3 -m venv \
                 $VIGIE_CACHE/lightgbm && $VIGIE_CACHE/lightgbm/bin/pip install lightgbm)"
            );
            return Ok(None);
        };
        let folder = tempfile::tempdir().context("making a folder for the rows")?;
        let learn =
            (0..self.rows).flat_map(|row| data.columns.iter().filter_map(move |c| c.get(row).copied()));
        write(&folder.path().join("learn"), learn)?;
        write(&folder.path().join("learn_y"), data.y.iter().copied())?;
        write(&folder.path().join("unseen"), data.unseen.iter().copied())?;
        let meter = Meter::start()?;
        let output = Command::new(&python)
            .args(["-c", SCRIPT])
            .arg(folder.path())
            .args([self.trees.to_string(), self.repeats.max(1).to_string()])
            .output()
            .with_context(|| format!("running LightGBM with {}", python.display()))?;
        anyhow::ensure!(
            output.status.success(),
            "LightGBM failed with {}: {}",
            python.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        let told: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("reading what LightGBM's script printed")?;
        let bytes = std::fs::read(folder.path().join("scores")).context("reading LightGBM's scores")?;
        let scores: Vec<f64> = bytes.as_chunks::<8>().0.iter().map(|raw| f64::from_le_bytes(*raw)).collect();
        let their_auc = metrics::auc(&data.unseen_y, &scores).context("LightGBM gave no scores")?;
        let mut figure = meter.stop("churn-lightgbm", "none", self.rows as u64)?;
        let number = |name: &str| told.get(name).and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
        for name in ["train_s", "one_p50_us", "one_p99_us", "batch_rows_per_s", "reasons_us"] {
            figure = figure.with(name, number(name));
        }
        let version = told.get("version").cloned().unwrap_or_default();
        figure = figure.with("version", version).with("auc", their_auc).with("auc_behind", their_auc - auc);
        if let [train, _, batch, reasons] = own {
            figure = figure
                .with("train_times_as_long", number("train_s") / train.wall_s)
                .with("batch_times_as_long", batch.rec_per_s / number("batch_rows_per_s"))
                .with("reasons_times_as_long", number("reasons_us") * reasons.rec_per_s / 1e6);
        }
        Ok(Some(figure))
    }
}

/// The run with the most records a second: the machine may be shared.
fn best_of<T>(times: usize, mut run: impl FnMut() -> Result<(T, Figure)>) -> Result<(T, Figure)> {
    let mut best = run()?;
    for _ in 1..times {
        let next = run()?;
        if next.1.rec_per_s > best.1.rec_per_s {
            best = next;
        }
    }
    Ok(best)
}

fn write(path: &Path, values: impl Iterator<Item = f64>) -> Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("making {}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    for value in values {
        file.write_all(&value.to_le_bytes()).with_context(|| format!("writing {}", path.display()))?;
    }
    file.flush().with_context(|| format!("writing {}", path.display()))
}

/// The Python of the cache, or that of the machine, that can run this.
pub(super) fn python_with(imports: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("VIGIE_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/vigie")));
    let own = cache.map(|cache| cache.join("lightgbm/bin/python"));
    own.into_iter().chain([PathBuf::from("python3")]).find(|python| {
        let found = Command::new(python).args(["-c", imports]).output();
        found.is_ok_and(|output| output.status.success())
    })
}

const SCRIPT: &str = r#"
import json, sys, time
import lightgbm, numpy
folder, trees, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
learn = numpy.fromfile(folder + "/learn").reshape(-1, 20)
answers = numpy.fromfile(folder + "/learn_y")
unseen = numpy.fromfile(folder + "/unseen").reshape(-1, 20)
options = dict(objective="binary", num_leaves=31, learning_rate=0.1, min_data_in_leaf=20, lambda_l2=1.0,
               num_threads=1, verbose=-1)
def best(run):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return min(times), result
def train():
    rows = lightgbm.Dataset(learn, answers, categorical_feature=[16, 17, 18, 19])
    return lightgbm.train(options, rows, trees)
train_s, model = best(train)
batch_s, scores = best(lambda: model.predict(unseen, num_threads=1))
scores.astype("<f8").tofile(folder + "/scores")
single = []
for row in unseen[:3000]:
    start = time.perf_counter()
    model.predict(row.reshape(1, -1), num_threads=1)
    single.append(time.perf_counter() - start)
few = unseen[:2000]
reasons_s, _ = best(lambda: model.predict(few, pred_contrib=True, num_threads=1))
print(json.dumps(dict(version=lightgbm.__version__, train_s=train_s, batch_rows_per_s=len(unseen) / batch_s,
    one_p50_us=float(numpy.percentile(single, 50)) * 1e6, one_p99_us=float(numpy.percentile(single, 99)) * 1e6,
    reasons_us=reasons_s / len(few) * 1e6)))
"#;
