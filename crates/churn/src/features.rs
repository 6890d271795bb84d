//! Features: how a cell becomes the number that a model reads, the same in training and in scoring.
//!
//! Numbers, ages in days and yes/no are themselves; a category is the index of its level; a missing cell is NaN.
//! No statistics of the answer enter here.

use crate::{
    cells::{self, DateFormat, NumberFormat},
    drift::Profile,
    error::ChurnError,
    plan::{ColumnPlan, Plan, Role},
    table::Table,
};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// Levels of a category with fewer rows than this are read as "other".
const LEVEL_ROWS: usize = 5;
/// At most this many levels are kept, the most frequent ones.
const LEVELS_KEPT: usize = 255;

/// How the cells of a feature are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FeatureKind {
    /// A number.
    Number {
        /// How numbers are written.
        format: NumberFormat,
    },
    /// Yes (1) or no (0).
    Boolean,
    /// A date, as its age in days.
    Date {
        /// The as-of date, in days since 1970-01-01.
        as_of_day: f64,
        /// How dates are written.
        #[serde(default, skip_serializing_if = "DateFormat::is_usual")]
        format: DateFormat,
    },
    /// One of several words.
    Category {
        /// The levels kept, sorted; everything else is "other", whose code is the number of levels.
        levels: Vec<String>,
    },
}

/// One feature: a column's name, how it is read, and what it looked like in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// The column's name.
    pub name: String,
    /// How it is read.
    pub kind: FeatureKind,
    /// Mean in training (of numbers, ages, yes/no; 0 for categories).
    pub mean: f64,
    /// Standard deviation in training.
    pub sd: f64,
    /// Smallest value in training.
    pub min: f64,
    /// Largest value in training.
    pub max: f64,
    /// The most frequent level's code (categories) or the mean's nearest value.
    pub typical: f64,
    /// Whether all values in training were whole numbers.
    pub whole: bool,
    /// Share of missing cells in training.
    pub missing_share: f64,
    /// Where the training values lay, to notice when customers change.
    pub profile: Profile,
}

impl Feature {
    /// Reads one cell. NaN where it is missing; unseen categories get the code of "other".
    ///
    /// # Errors
    /// [`ChurnError::BadCell`] when the cell is neither blank nor what the feature expects.
    pub fn read(&self, cell: Option<&str>) -> Result<f64, ChurnError> {
        let Some(text) = cell.filter(|text| !cells::is_missing(text)) else { return Ok(f64::NAN) };
        let bad =
            |expected| ChurnError::BadCell { column: self.name.clone(), value: text.to_owned(), expected };
        match &self.kind {
            FeatureKind::Number { format } => cells::number(text, *format).ok_or_else(|| bad("a number")),
            // A count of which training saw only 0 and 1 may be 2 one day: more than none is a yes.
            FeatureKind::Boolean => {
                let yes = cells::boolean(text)
                    .or_else(|| cells::number(text, NumberFormat::Point).map(|number| number > 0.5));
                match yes {
                    Some(yes) => Ok(f64::from(u8::from(yes))),
                    None => Err(bad("a yes or no (1/0, true/false, yes/no, oui/non)")),
                }
            }
            FeatureKind::Date { as_of_day, format } => match cells::day_number(text, *format) {
                Some(day) => Ok(as_of_day - day),
                None => Err(bad(match format {
                    DateFormat::YearFirst => "a date such as 2024-06-30",
                    DateFormat::DayFirst => "a date such as 30/06/2024 (day first)",
                    DateFormat::MonthFirst => "a date such as 06/30/2024 (month first)",
                    DateFormat::Named => "a date such as 30 June 2024",
                })),
            },
            FeatureKind::Category { levels } => {
                let text = text.trim();
                let code = levels.binary_search_by(|level| level.as_str().cmp(text)).unwrap_or(levels.len());
                Ok(code as f64)
            }
        }
    }

    /// Whether the feature is a category.
    #[must_use]
    pub fn is_category(&self) -> bool {
        matches!(self.kind, FeatureKind::Category { .. })
    }

    /// The level of a category's code; `None` for "other" and for features that are no categories.
    #[must_use]
    pub fn level(&self, code: f64) -> Option<&str> {
        match &self.kind {
            FeatureKind::Category { levels } if code >= 0.0 => levels.get(code as usize).map(String::as_str),
            _ => None,
        }
    }
}

/// A table read for training: features column by column, answers, and where each row came from.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The features.
    pub features: Vec<Feature>,
    /// One column of values per feature.
    pub columns: Vec<Vec<f64>>,
    /// The answers, 1 or 0.
    pub y: Vec<f64>,
    /// Whether each row was treated, where the plan names a treatment (NaN: not known).
    pub treated: Option<Vec<f64>>,
    /// What each customer is worth, where the plan names a value column (NaN: not known).
    pub value: Option<Vec<f64>>,
    /// For each row, its row in the table: rows without an answer are not here, and the order is not the table's.
    pub table_rows: Vec<usize>,
    /// For each row, the number of its group: rows that must share a fold. Groups are runs of neighbours.
    pub groups: Vec<usize>,
}

impl Dataset {
    /// Reads a table by its plan. `only` restricts the features to these columns, in this order.
    ///
    /// # Errors
    /// When a column of `only` does not exist or cannot be learnt from, when no feature is left, and when the
    /// answers are all the same.
    pub fn read(table: &Table, plan: &Plan, only: Option<&[String]>) -> Result<Self, ChurnError> {
        let target = table.column(&plan.target)?;
        let mut table_rows = Vec::new();
        let mut y = Vec::new();
        for (row, cell) in target.cells().enumerate() {
            if let Some(text) = cell {
                table_rows.push(row);
                y.push(f64::from(u8::from(text == plan.positive)));
            }
        }
        let yes = y.iter().filter(|v| **v > 0.5).count();
        if y.is_empty() {
            return Err(ChurnError::Empty {
                what: format!("the target column {:?}", plan.target),
                hint: "all its cells are blank".to_owned(),
            });
        }
        if yes == 0 || yes == y.len() {
            let value = if yes == 0 { "no" } else { "yes" };
            return Err(ChurnError::OneClass {
                column: plan.target.clone(),
                value: value.to_owned(),
                rows: y.len(),
            });
        }
        let mut features = Vec::new();
        let mut columns = Vec::new();
        for planned in chosen(table, plan, only)? {
            let (feature, values) = read_feature(table, plan, planned, &table_rows)?;
            features.push(feature);
            columns.push(values);
        }
        let read_plain = |role| -> Result<Option<Vec<f64>>, ChurnError> {
            let Some(planned) = plan.columns.iter().find(|column| column.role == role) else {
                return Ok(None);
            };
            Ok(Some(read_feature(table, plan, planned, &table_rows)?.1))
        };
        let data = Self {
            features,
            columns,
            y,
            treated: read_plain(Role::Treatment)?,
            value: read_plain(Role::Value)?,
            table_rows,
            groups: Vec::new(),
        };
        Ok(data.in_canonical_order())
    }

    /// Orders the rows by their content, so that neither the order of the table's rows nor that of its columns
    /// changes a fold, a sum or a model. Where the whole table is k copies of a smaller one, k copies of a row make
    /// one group. (Rows that merely happen to be equal stay apart: in a table of few categories they are many, and
    /// a fold without any of them would be judged on what it never saw.)
    fn in_canonical_order(mut self) -> Self {
        let mut keys: Vec<u128> = self.y.iter().map(|y| u128::from(y.to_bits())).collect();
        for (feature, values) in self.features.iter().zip(&self.columns) {
            for (key, value) in keys.iter_mut().zip(values) {
                let mut hasher = Xxh3::new();
                hasher.update(feature.name.as_bytes());
                hasher.update(&if value.is_nan() { f64::NAN } else { *value }.to_bits().to_le_bytes());
                // A sum does not depend on the order of the columns.
                *key = key.wrapping_add(hasher.digest128());
            }
        }
        for (name, values) in [("treated", &self.treated), ("value", &self.value)] {
            for (key, value) in keys.iter_mut().zip(values.iter().flatten()) {
                let mut hasher = Xxh3::new();
                hasher.update(name.as_bytes());
                hasher.update(&[0]);
                hasher.update(&value.to_bits().to_le_bytes());
                *key = key.wrapping_add(hasher.digest128());
            }
        }
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|row| keys.get(*row));
        let sort =
            |values: &[f64]| order.iter().filter_map(|row| values.get(*row).copied()).collect::<Vec<f64>>();
        self.columns = self.columns.iter().map(|column| sort(column)).collect();
        self.y = sort(&self.y);
        self.treated = self.treated.as_deref().map(sort);
        self.value = self.value.as_deref().map(sort);
        self.table_rows = order.iter().filter_map(|row| self.table_rows.get(*row).copied()).collect();
        let sorted: Vec<u128> = order.iter().filter_map(|row| keys.get(*row).copied()).collect();
        let copies = sorted.chunk_by(|a, b| a == b).map(<[u128]>::len).fold(0, gcd).max(1);
        // Equal rows are neighbours and come in multiples of `copies`, so blocks of that size hold equal rows only.
        self.groups = (0..sorted.len()).map(|row| row / copies).collect();
        self
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.y.len()
    }

    /// Whether the row's answer is yes.
    #[must_use]
    pub fn is_yes(&self, row: usize) -> bool {
        self.y.get(row).is_some_and(|y| *y > 0.5)
    }

    /// Copies one row's feature values into `out`.
    pub fn row_into(&self, row: usize, out: &mut Vec<f64>) {
        out.clear();
        out.extend(self.columns.iter().map(|column| column.get(row).copied().unwrap_or(f64::NAN)));
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn chosen<'a>(
    table: &Table,
    plan: &'a Plan,
    only: Option<&[String]>,
) -> Result<Vec<&'a ColumnPlan>, ChurnError> {
    let chosen: Vec<&ColumnPlan> = match only {
        None => plan.columns.iter().filter(|column| column.role.is_feature()).collect(),
        Some(names) => names
            .iter()
            .map(|name| {
                table.column(name)?;
                match plan.column(name) {
                    Some(column) if column.role.is_feature() => Ok(column),
                    other => Err(ChurnError::UnfitColumn {
                        column: name.clone(),
                        role: "feature".to_owned(),
                        reason: other.map_or_else(
                            || "the plan does not know it".to_owned(),
                            |column| format!("its role is {}: {}", column.role.name(), column.reason.en),
                        ),
                    }),
                }
            })
            .collect::<Result<_, ChurnError>>()?,
    };
    if chosen.is_empty() {
        let reason = plan
            .columns
            .iter()
            .map(|column| format!("{} is {} ({})", column.name, column.role.name(), column.reason.en))
            .collect::<Vec<_>>()
            .join("; ");
        return Err(ChurnError::NoFeatures { reason });
    }
    Ok(chosen)
}

fn read_feature(
    table: &Table,
    plan: &Plan,
    planned: &ColumnPlan,
    rows: &[usize],
) -> Result<(Feature, Vec<f64>), ChurnError> {
    let column = table.column(&planned.name)?;
    let kind = match planned.role {
        Role::Boolean | Role::Treatment => FeatureKind::Boolean,
        Role::Date => {
            FeatureKind::Date { as_of_day: plan.as_of_day.unwrap_or_default(), format: planned.dates }
        }
        Role::Category => {
            let mut counts: FxHashMap<&str, usize> = FxHashMap::default();
            for row in rows {
                if let Some(text) = column.cell(*row) {
                    *counts.entry(text).or_default() += 1;
                }
            }
            let mut levels: Vec<(&str, usize)> =
                counts.into_iter().filter(|(_, n)| *n >= LEVEL_ROWS).collect();
            // Most frequent first, names to settle ties: the choice must not depend on the order of rows.
            levels.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            levels.truncate(LEVELS_KEPT);
            let mut levels: Vec<String> = levels.into_iter().map(|(name, _)| name.to_owned()).collect();
            levels.sort_unstable();
            FeatureKind::Category { levels }
        }
        _ => FeatureKind::Number { format: planned.format },
    };
    let mut feature = Feature {
        name: planned.name.clone(),
        kind,
        mean: 0.0,
        sd: 0.0,
        min: 0.0,
        max: 0.0,
        typical: 0.0,
        whole: false,
        missing_share: 0.0,
        profile: Profile::default(),
    };
    // A treatment may be written in words of its own; yes is what the plan says.
    let words = (planned.role == Role::Treatment).then_some(plan.treated.as_deref()).flatten();
    let values: Vec<f64> = rows
        .iter()
        .map(|row| match (column.cell(*row), words) {
            (Some(text), Some(yes)) => f64::from(u8::from(text == yes)),
            // A stray word in a column of numbers was counted and warned about when the plan was made.
            (cell, _) => feature.read(cell).unwrap_or(f64::NAN),
        })
        .collect();
    let present: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    let n = present.len().max(1) as f64;
    feature.missing_share = 1.0 - present.len() as f64 / values.len().max(1) as f64;
    if feature.is_category() {
        let mut counts: FxHashMap<u64, usize> = FxHashMap::default();
        for value in &present {
            *counts.entry(*value as u64).or_default() += 1;
        }
        feature.typical = counts
            .into_iter()
            .max_by_key(|(code, n)| (*n, u64::MAX - code))
            .map_or(0.0, |(code, _)| code as f64);
        feature.max = present.iter().copied().fold(0.0, f64::max);
    } else if !present.is_empty() {
        feature.mean = present.iter().sum::<f64>() / n;
        feature.sd = (present.iter().map(|v| (v - feature.mean).powi(2)).sum::<f64>() / n).sqrt();
        feature.min = present.iter().copied().fold(f64::INFINITY, f64::min);
        feature.max = present.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        feature.typical = feature.mean;
        feature.whole = present.iter().all(|v| v.fract() == 0.0);
    }
    feature.profile = Profile::of(&feature.kind, &values);
    Ok((feature, values))
}
