//! From features to the columns of a regression, and back from coefficients to one curve per feature.
//!
//! Each design column is centred and scaled on the rows it is fitted on, so that one penalty suits all; levels of categories
//! share one scale, so that a rare level is held back and not blown up. Missing numbers are read as the mean, with a column of
//! their own that says so; categories have a column per level. A
//! fitted regression becomes an [`Additive`] model: base + one [`Shape`] per feature, each of mean zero over the
//! training rows. That is what is stored, scored and explained; nothing is standardised at scoring time.

use crate::{
    features::{Dataset, Feature, FeatureKind},
    logistic::{Fit, Matrix},
};
use serde::{Deserialize, Serialize};

/// What one feature adds to the log-odds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "snake_case")]
pub enum Shape {
    /// `slope x (value - centre) + present`, or `missing`.
    Linear {
        /// Log-odds per unit.
        slope: f64,
        /// The mean in training.
        centre: f64,
        /// Added when the value is there (0 unless some were missing in training).
        present: f64,
        /// Added when it is missing.
        missing: f64,
    },
    /// A natural cubic spline: linear beyond its outer knots.
    Spline {
        /// The knots, ascending, at least three.
        knots: Vec<f64>,
        /// Log-odds per unit of the linear part.
        slope: f64,
        /// One coefficient per inner basis function (knots - 2).
        bends: Vec<f64>,
        /// Subtracted, so that the mean over the training rows is zero.
        centre: f64,
        /// Added when the value is missing.
        missing: f64,
    },
    /// One number per level.
    Levels {
        /// By code; the last is "other".
        by_code: Vec<f64>,
        /// Added when the value is missing.
        missing: f64,
    },
}

impl Shape {
    /// The contribution of one value (NaN: missing) in log-odds.
    #[must_use]
    pub fn at(&self, value: f64) -> f64 {
        match self {
            Self::Linear { slope, centre, present, missing } => {
                if value.is_nan() {
                    *missing
                } else {
                    slope * (value - centre) + present
                }
            }
            Self::Spline { knots, slope, bends, centre, missing } => {
                if value.is_nan() {
                    return *missing;
                }
                let mut sum = slope * value - centre;
                for (k, bend) in bends.iter().enumerate() {
                    sum += bend * spline_basis(knots, k, value);
                }
                sum
            }
            Self::Levels { by_code, missing } => {
                if value.is_nan() {
                    return *missing;
                }
                by_code.get(value.max(0.0) as usize).or(by_code.last()).copied().unwrap_or(0.0)
            }
        }
    }
}

/// The `k`-th inner function of the natural cubic spline basis in Harrell's scaling (it has the unit of `x`).
fn spline_basis(knots: &[f64], k: usize, x: f64) -> f64 {
    let (Some(&first), Some(&last), Some(&own)) = (knots.first(), knots.last(), knots.get(k)) else {
        return 0.0;
    };
    let Some(&before_last) = knots.len().checked_sub(2).and_then(|i| knots.get(i)) else { return 0.0 };
    let cube = |v: f64| if v > 0.0 { v * v * v } else { 0.0 };
    let gap = last - before_last;
    let scale = (last - first) * (last - first);
    (cube(x - own) - cube(x - before_last) * (last - own) / gap + cube(x - last) * (before_last - own) / gap)
        / scale
}

/// An additive model on the raw (not yet calibrated) log-odds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Additive {
    /// The log-odds where each shape is zero.
    pub base: f64,
    /// One shape per feature.
    pub shapes: Vec<Shape>,
}

impl Additive {
    /// The same with all log-odds multiplied.
    #[must_use]
    pub fn times(mut self, factor: f64) -> Self {
        self.base *= factor;
        for shape in &mut self.shapes {
            match shape {
                Shape::Linear { slope, present, missing, .. } => {
                    [slope, present, missing].into_iter().for_each(|v| *v *= factor);
                }
                Shape::Spline { slope, bends, centre, missing, .. } => {
                    bends.iter_mut().chain([slope, centre, missing]).for_each(|v| *v *= factor);
                }
                Shape::Levels { by_code, missing } => {
                    by_code.iter_mut().chain([missing]).for_each(|v| *v *= factor);
                }
            }
        }
        self
    }

    /// The raw log-odds of one row of feature values.
    #[must_use]
    pub fn log_odds(&self, row: &[f64]) -> f64 {
        self.base + self.shapes.iter().zip(row).map(|(shape, value)| shape.at(*value)).sum::<f64>()
    }
}

/// What a design column shows of its feature.
#[derive(Debug, Clone, PartialEq)]
enum Term {
    Value,
    Bend(usize),
    Missing,
    Level(f64),
}

#[derive(Debug, Clone)]
struct Column {
    feature: usize,
    term: Term,
    mean: f64,
    scale: f64,
}

impl Column {
    /// Levels are nearly all zero, and stay so: they are not centred in the matrix (the constant makes up for it).
    fn is_sparse(&self) -> bool {
        matches!(self.term, Term::Level(_))
    }
}

/// How many columns a design has: of numbers, and of levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    /// Numbers, curves, yes or no, blanks.
    pub dense: usize,
    /// Levels of categories.
    pub levels: usize,
}

impl Width {
    /// How many design columns the rows can carry: of numbers one per ten rows, between 20 and 200; of levels one per
    /// twenty rows, between 20 and 400.
    #[must_use]
    pub fn affordable(rows: usize) -> Self {
        Self { dense: (rows / 10).clamp(20, 200), levels: (rows / 20).clamp(20, 400) }
    }
}

/// The design of a regression: which columns, and how each is centred and scaled.
#[derive(Debug, Clone)]
pub struct Encoder {
    columns: Vec<Column>,
    /// Per feature: the value that stands in for a missing one.
    fill: Vec<f64>,
    /// Per feature: spline knots, empty for a straight line.
    knots: Vec<Vec<f64>>,
}

/// Quantiles at which knots are set; outer ones near the ends, as Harrell recommends for five knots.
const KNOTS_AT: [f64; 5] = [0.05, 0.275, 0.5, 0.725, 0.95];
/// One over the scale of levels: about that of a yes or no that half the rows say.
const LEVEL_SCALE: f64 = 0.4;
/// A numeric feature needs this many different values before it gets a spline.
const VALUES_FOR_SPLINE: usize = 10;

impl Encoder {
    /// Learns centring, scaling, stand-ins and (with `splines`) knots from the listed rows.
    #[must_use]
    pub fn learn(data: &Dataset, rows: &[usize], splines: bool) -> Self {
        let mut encoder = Self { columns: Vec::new(), fill: Vec::new(), knots: Vec::new() };
        for (index, (feature, values)) in data.features.iter().zip(&data.columns).enumerate() {
            let mut present: Vec<f64> =
                rows.iter().filter_map(|row| values.get(*row)).copied().filter(|v| !v.is_nan()).collect();
            let fill = present.iter().sum::<f64>() / present.len().max(1) as f64;
            let mut terms = Vec::new();
            let mut knots = Vec::new();
            if let FeatureKind::Category { levels } = &feature.kind {
                terms.extend((0..=levels.len()).map(|code| Term::Level(code as f64)));
            } else {
                terms.push(Term::Value);
                if splines && !matches!(feature.kind, FeatureKind::Boolean) {
                    knots = choose_knots(&mut present);
                    terms.extend((0..knots.len().saturating_sub(2)).map(Term::Bend));
                }
            }
            if present.len() < rows.len() {
                terms.push(Term::Missing);
            }
            encoder.fill.push(fill);
            encoder.knots.push(knots);
            for term in terms {
                encoder.columns.push(Column { feature: index, term, mean: 0.0, scale: 1.0 });
            }
        }
        let n = rows.len().max(1) as f64;
        let mut kept = Vec::with_capacity(encoder.columns.len());
        for mut column in std::mem::take(&mut encoder.columns) {
            let values = || rows.iter().map(|row| encoder.raw(data, &column, *row));
            let mean = values().sum::<f64>() / n;
            let variance = values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            // A column that does not vary here has nothing to say here.
            if variance > 1e-18 * (1.0 + mean * mean) {
                column.mean = mean;
                column.scale = if column.is_sparse() { LEVEL_SCALE } else { variance.sqrt() };
                kept.push(column);
            }
        }
        // Dense ones first, as the matrix has them. The sort is stable.
        kept.sort_by_key(Column::is_sparse);
        encoder.columns = kept;
        encoder
    }

    fn sparse_from(&self) -> usize {
        self.columns.partition_point(|column| !column.is_sparse())
    }

    fn raw(&self, data: &Dataset, column: &Column, row: usize) -> f64 {
        let value = data.columns.get(column.feature).and_then(|c| c.get(row)).copied().unwrap_or(f64::NAN);
        self.term_value(column, value)
    }

    fn term_value(&self, column: &Column, value: f64) -> f64 {
        let filled =
            if value.is_nan() { self.fill.get(column.feature).copied().unwrap_or(0.0) } else { value };
        match column.term {
            Term::Value => filled,
            Term::Bend(k) => {
                self.knots.get(column.feature).map_or(0.0, |knots| spline_basis(knots, k, filled))
            }
            Term::Missing => f64::from(u8::from(value.is_nan())),
            Term::Level(code) => f64::from(u8::from(!value.is_nan() && value == code)),
        }
    }

    /// Keeps the columns that go most with the answer, each taken alone on the listed rows (sure independence
    /// screening, Fan and Lv 2008), in their order: as many dense ones and levels as `limits` says. Wide tables become
    /// affordable; done inside each fold, it stays honest.
    pub fn keep_strongest(&mut self, data: &Dataset, rows: &[usize], limits: Width) {
        let width = self.widths();
        if width.dense <= limits.dense && width.levels <= limits.levels {
            return;
        }
        let answer = |row: usize| f64::from(u8::from(data.is_yes(row)));
        let mean = rows.iter().map(|row| answer(*row)).sum::<f64>() / rows.len().max(1) as f64;
        let strength = |column: &Column| {
            let products =
                rows.iter().map(|row| (self.raw(data, column, *row) - column.mean) * (answer(*row) - mean));
            (products.sum::<f64>() / column.scale).abs()
        };
        let mut kept: Vec<usize> = Vec::new();
        for (sparse, limit) in [(false, limits.dense), (true, limits.levels)] {
            let mut ranked: Vec<(usize, f64)> = self
                .columns
                .iter()
                .enumerate()
                .filter(|(_, column)| column.is_sparse() == sparse)
                .map(|(index, column)| (index, strength(column)))
                .collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            kept.extend(ranked.iter().take(limit).map(|(index, _)| *index));
        }
        kept.sort_unstable();
        self.columns = kept.into_iter().filter_map(|index| self.columns.get(index).cloned()).collect();
    }

    /// How many columns of each kind there are.
    #[must_use]
    pub fn widths(&self) -> Width {
        let dense = self.sparse_from();
        Width { dense, levels: self.columns.len() - dense }
    }

    /// The design matrix of all rows of the data set (fits pick the rows they need).
    #[must_use]
    pub fn design(&self, data: &Dataset) -> Matrix {
        let (dense, sparse) = self.columns.split_at(self.sparse_from());
        let mut x = Matrix::with_sparse(data.rows(), dense.len(), sparse.len());
        // Per feature: the column of each level.
        let mut column_of: Vec<Vec<(f64, usize)>> = vec![Vec::new(); data.features.len()];
        for (index, column) in sparse.iter().enumerate() {
            if let (Term::Level(code), Some(list)) = (&column.term, column_of.get_mut(column.feature)) {
                list.push((*code, dense.len() + index));
            }
        }
        for row in 0..data.rows() {
            for (slot, column) in x.row_mut(row).iter_mut().zip(dense) {
                *slot = (self.raw(data, column, row) - column.mean) / column.scale;
            }
            let level = |(values, list): (&Vec<f64>, &Vec<(f64, usize)>)| {
                let value = values.get(row).copied()?;
                // Levels ascend: codes of a category are few, and most are found by their place.
                let at = list.partition_point(|(code, _)| *code < value);
                list.get(at).filter(|(code, _)| *code == value).map(|(_, index)| (*index, 1.0 / LEVEL_SCALE))
            };
            x.push_entries(
                data.columns.iter().zip(&column_of).filter(|(_, list)| !list.is_empty()).filter_map(level),
            );
        }
        x
    }

    /// The feature behind a design column.
    #[must_use]
    pub fn feature_of(&self, column: usize) -> usize {
        self.columns.get(column).map_or(0, |column| column.feature)
    }

    /// Number of design columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The fitted regression as curves per feature.
    #[must_use]
    pub fn additive(&self, features: &[Feature], fit: &Fit) -> Additive {
        let shapes =
            features.iter().enumerate().map(|(index, feature)| self.shape(index, feature, fit)).collect();
        // Levels were not centred for the fit; their shapes are.
        let moved: f64 = self
            .columns
            .iter()
            .zip(&fit.coefficients)
            .filter(|(column, _)| column.is_sparse())
            .map(|(column, coefficient)| coefficient * column.mean / column.scale)
            .sum();
        Additive { base: fit.intercept + moved, shapes }
    }

    fn shape(&self, index: usize, feature: &Feature, fit: &Fit) -> Shape {
        let mine: Vec<(&Column, f64)> = self
            .columns
            .iter()
            .zip(&fit.coefficients)
            .filter(|(column, _)| column.feature == index)
            .map(|(column, coefficient)| (column, coefficient / column.scale))
            .collect();
        let at = |value: f64| mine.iter().map(|(c, b)| b * (self.term_value(c, value) - c.mean)).sum::<f64>();
        let missing = at(f64::NAN);
        if let FeatureKind::Category { levels } = &feature.kind {
            return Shape::Levels {
                by_code: (0..=levels.len()).map(|code| at(code as f64)).collect(),
                missing,
            };
        }
        let slope = mine.iter().find(|(c, _)| c.term == Term::Value).map_or(0.0, |(_, b)| *b);
        let fill = self.fill.get(index).copied().unwrap_or(0.0);
        let knots = self.knots.get(index).cloned().unwrap_or_default();
        if knots.is_empty() {
            // At the fill value the straight line contributes nothing but the share of the missing column.
            return Shape::Linear { slope, centre: fill, present: at(fill), missing };
        }
        let bends: Vec<f64> = (0..knots.len().saturating_sub(2))
            .map(|k| mine.iter().find(|(c, _)| c.term == Term::Bend(k)).map_or(0.0, |(_, b)| *b))
            .collect();
        let curve = Shape::Spline { knots: knots.clone(), slope, bends: bends.clone(), centre: 0.0, missing };
        let centre = curve.at(fill) - at(fill);
        Shape::Spline { knots, slope, bends, centre, missing }
    }
}

/// Five knots at quantiles, fewer where values repeat; none for features with few different values.
fn choose_knots(values: &mut [f64]) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    let distinct = values.windows(2).filter(|pair| matches!(pair, [a, b] if a != b)).count() + 1;
    if values.is_empty() || distinct < VALUES_FOR_SPLINE {
        return Vec::new();
    }
    let mut knots: Vec<f64> = KNOTS_AT
        .iter()
        .filter_map(|share| values.get((share * (values.len() - 1) as f64).round() as usize).copied())
        .collect();
    knots.dedup();
    if knots.len() < 3 { Vec::new() } else { knots }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splines_are_straight_beyond_their_knots_and_bend_between() {
        let knots = vec![0.0, 1.0, 2.0, 4.0];
        for k in 0..2 {
            assert_eq!(spline_basis(&knots, k, -3.0), 0.0);
            let slope = |x: f64| spline_basis(&knots, k, x + 1.0) - spline_basis(&knots, k, x);
            assert!((slope(5.0) - slope(9.0)).abs() < 1e-9, "linear after the last knot");
            assert!((slope(1.0) - slope(5.0)).abs() > 1e-3, "and not before");
        }
    }

    #[test]
    fn shapes_read_missing_and_unseen_values() {
        let line = Shape::Linear { slope: 2.0, centre: 1.0, present: 0.1, missing: -0.3 };
        assert_eq!(line.at(2.0), 2.1);
        assert_eq!(line.at(f64::NAN), -0.3);
        let levels = Shape::Levels { by_code: vec![0.5, -0.5, 0.2], missing: 0.0 };
        assert_eq!(levels.at(1.0), -0.5);
        assert_eq!(levels.at(7.0), 0.2, "a code never seen is other");
        assert_eq!(levels.at(f64::NAN), 0.0);
    }
}
