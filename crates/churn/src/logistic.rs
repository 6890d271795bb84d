//! Ridge logistic regression by Newton's method (iteratively reweighted least squares).
//!
//! Minimises mean log-loss + penalty / 2 x sum of squared coefficients; the intercept is never penalised. Columns
//! are expected on one scale (see [`crate::encode`]). With penalty 0 the fit is maximum likelihood, and two
//! conditions without a finite or unique answer are told apart: separation and collinearity.
#![expect(clippy::indexing_slicing, reason = "dense kernels: indices run over sizes checked on entry")]

use crate::special::{sigmoid, softplus};
use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

/// A matrix, row by row: its first columns dense, those after them sparse (one-hot levels are nearly all zero).
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    dense: usize,
    data: Vec<f64>,
    /// Where each row's entries end.
    ends: Vec<usize>,
    /// Column and value, by ascending column.
    entries: Vec<(usize, f64)>,
}

impl Matrix {
    /// A dense matrix of zeros.
    #[must_use]
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, dense: cols, data: vec![0.0; rows * cols], ends: Vec::new(), entries: Vec::new() }
    }

    /// A matrix to be filled row by row: `dense` columns, and `sparse` more.
    #[must_use]
    pub fn with_sparse(rows: usize, dense: usize, sparse: usize) -> Self {
        Self { cols: dense + sparse, ..Self::zeros(rows, dense) }
    }

    /// Ends the next row with these entries (columns after the dense ones, ascending).
    pub fn push_entries(&mut self, entries: impl IntoIterator<Item = (usize, f64)>) {
        self.entries.extend(entries);
        self.ends.push(self.entries.len());
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The dense part of one row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f64] {
        &self.data[row * self.dense..(row + 1) * self.dense]
    }

    /// The dense part of one row, to be filled.
    pub fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.data[row * self.dense..(row + 1) * self.dense]
    }

    /// The sparse part of one row.
    fn entries(&self, row: usize) -> &[(usize, f64)] {
        match self.ends.get(row) {
            Some(end) => &self.entries[if row == 0 { 0 } else { self.ends[row - 1] }..*end],
            None => &[],
        }
    }

    /// The products of one row and `weights`, summed.
    fn dot(&self, row: usize, weights: &[f64]) -> f64 {
        let dense = self.row(row).iter().zip(weights).map(|(x, b)| x * b).sum::<f64>();
        self.entries(row).iter().fold(dense, |sum, (column, value)| sum + value * weights[*column])
    }
}

/// A fitted regression on the matrix's own scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The constant.
    pub intercept: f64,
    /// One coefficient per column.
    pub coefficients: Vec<f64>,
    /// Mean log-loss on the rows it was fitted on.
    pub log_loss: f64,
    /// Newton steps taken.
    pub steps: usize,
}

impl Fit {
    /// The log-odds of one row.
    #[must_use]
    pub fn log_odds(&self, x: &Matrix, row: usize) -> f64 {
        self.intercept + x.dot(row, &self.coefficients)
    }
}

/// Why an unpenalised fit has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFit {
    /// The columns tell the answers apart without error; the index is that of the largest coefficient.
    Separated(usize),
    /// Column `.0` follows from the columns before it.
    Collinear(usize),
}

/// The largest number of Newton steps; a ridge fit needs about six.
const MAX_STEPS: usize = 60;
/// Converged when a step would gain less than this in mean log-loss.
const TOLERANCE: f64 = 1e-12;

/// Fits the rows listed in `rows` of `x` to the answers `y` (0 or 1, indexed as `x`).
///
/// `start` warms the fit up (a neighbouring penalty's result); it changes the number of steps, not the answer.
///
/// # Errors
/// Only without a penalty: [`NoFit`]. With a penalty above 0 the minimum always exists and is unique.
pub fn fit(x: &Matrix, y: &[f64], rows: &[usize], penalty: f64, start: Option<&Fit>) -> Result<Fit, NoFit> {
    let p = x.cols();
    let mut beta = vec![0.0; p + 1];
    if let Some(start) = start {
        beta[0] = start.intercept;
        beta[1..].copy_from_slice(&start.coefficients);
    } else {
        let mean = rows.iter().map(|&r| y[r]).sum::<f64>() / rows.len().max(1) as f64;
        beta[0] = crate::special::logit(mean.clamp(1e-4, 1.0 - 1e-4));
    }
    let mut loss = objective(x, y, rows, penalty, &beta);
    let mut steps = 0;
    while steps < MAX_STEPS {
        steps += 1;
        let (gradient, hessian) = derivatives(x, y, rows, penalty, &beta);
        let step = match factor(&hessian) {
            Ok(factor) => factor.solve(&gradient),
            Err(column) if penalty > 0.0 || column == 0 => {
                // All probabilities at 0 or 1: as far as numbers go, this is the minimum.
                if penalty > 0.0 {
                    break;
                }
                return Err(NoFit::Separated(largest(&beta)));
            }
            Err(column) => {
                return Err(if looks_separated(x, y, rows, &beta) {
                    NoFit::Separated(largest(&beta))
                } else {
                    NoFit::Collinear(column - 1)
                });
            }
        };
        // The Newton decrement is twice the expected gain.
        let gain = 0.5 * gradient.dot(&step);
        let mut scale = 1.0;
        let mut next: Vec<f64>;
        let mut next_loss;
        loop {
            next = beta.iter().zip(step.iter()).map(|(b, s)| b - scale * s).collect();
            next_loss = objective(x, y, rows, penalty, &next);
            if next_loss <= loss || scale < 1e-6 {
                break;
            }
            scale *= 0.5;
        }
        if next_loss <= loss {
            beta = next;
            loss = next_loss;
        }
        if gain < TOLERANCE || scale < 1e-6 {
            break;
        }
        if penalty == 0.0 && looks_separated(x, y, rows, &beta) {
            return Err(NoFit::Separated(largest(&beta)));
        }
    }
    if penalty == 0.0 && (steps == MAX_STEPS || looks_separated(x, y, rows, &beta)) {
        return Err(NoFit::Separated(largest(&beta)));
    }
    let log_loss = objective(x, y, rows, 0.0, &beta);
    Ok(Fit { intercept: beta[0], coefficients: beta[1..].to_vec(), log_loss, steps })
}

fn linear(x: &Matrix, row: usize, beta: &[f64]) -> f64 {
    beta[0] + x.dot(row, &beta[1..])
}

fn objective(x: &Matrix, y: &[f64], rows: &[usize], penalty: f64, beta: &[f64]) -> f64 {
    let mut sum = 0.0;
    for &row in rows {
        let eta = linear(x, row, beta);
        sum += softplus(eta) - y[row] * eta;
    }
    sum / rows.len().max(1) as f64 + 0.5 * penalty * beta[1..].iter().map(|b| b * b).sum::<f64>()
}

/// Gradient and Hessian of the objective, intercept first.
fn derivatives(
    x: &Matrix,
    y: &[f64],
    rows: &[usize],
    penalty: f64,
    beta: &[f64],
) -> (DVector<f64>, DMatrix<f64>) {
    let p = x.cols() + 1;
    let mut gradient = vec![0.0; p];
    // The lower triangle, row by row; mirrored at the end.
    let mut lower = vec![0.0; p * p];
    for &row in rows {
        let values = x.row(row);
        let mu = sigmoid(linear(x, row, beta));
        let residual = mu - y[row];
        let weight = mu * (1.0 - mu);
        gradient[0] += residual;
        lower[0] += weight;
        for (i, &xi) in values.iter().enumerate() {
            gradient[i + 1] += residual * xi;
            let wx = weight * xi;
            if wx == 0.0 {
                continue;
            }
            let line = &mut lower[(i + 1) * p..(i + 1) * p + i + 2];
            line[0] += wx;
            for (slot, &xj) in line[1..].iter_mut().zip(&values[..=i]) {
                *slot += wx * xj;
            }
        }
        let entries = x.entries(row);
        for (index, &(column, value)) in entries.iter().enumerate() {
            gradient[column + 1] += residual * value;
            let wx = weight * value;
            let line = &mut lower[(column + 1) * p..(column + 1) * p + column + 2];
            line[0] += wx;
            for (slot, &xj) in line[1..].iter_mut().zip(values) {
                *slot += wx * xj;
            }
            for &(other, xj) in &entries[..=index] {
                line[other + 1] += wx * xj;
            }
        }
    }
    let n = rows.len().max(1) as f64;
    let mut hessian = DMatrix::zeros(p, p);
    for i in 0..p {
        for j in 0..=i {
            let value = lower[i * p + j] / n;
            hessian[(i, j)] = value;
            hessian[(j, i)] = value;
        }
        gradient[i] /= n;
        if i > 0 {
            gradient[i] += penalty * beta[i];
            hessian[(i, i)] += penalty;
        }
    }
    (DVector::from_vec(gradient), hessian)
}

/// The Cholesky factor, or the first column that follows from those before it.
fn factor(hessian: &DMatrix<f64>) -> Result<Cholesky<f64, Dyn>, usize> {
    if let Some(factor) = Cholesky::new(hessian.clone()) {
        // A pivot that has lost seven digits of its diagonal carries no information of its own.
        let l = factor.l_dirty();
        for i in 0..hessian.nrows() {
            let pivot = l[(i, i)] * l[(i, i)];
            if pivot <= 1e-7 * hessian[(i, i)] {
                return Err(i);
            }
        }
        return Ok(factor);
    }
    // Find the column by growing the leading block.
    for size in 1..=hessian.nrows() {
        let block = hessian.view((0, 0), (size, size)).into_owned();
        match Cholesky::new(block) {
            Some(factor) => {
                let pivot = factor.l_dirty()[(size - 1, size - 1)].powi(2);
                if pivot <= 1e-7 * hessian[(size - 1, size - 1)] {
                    return Err(size - 1);
                }
            }
            None => return Err(size - 1),
        }
    }
    Err(hessian.nrows().saturating_sub(1))
}

/// All rows on the right side, by far: the likelihood has no maximum, it only creeps towards one.
fn looks_separated(x: &Matrix, y: &[f64], rows: &[usize], beta: &[f64]) -> bool {
    rows.iter().all(|&row| {
        let eta = linear(x, row, beta);
        if y[row] > 0.5 { eta > 0.0 } else { eta < 0.0 }
    }) && objective(x, y, rows, 0.0, beta) < 1e-4
}

fn largest(beta: &[f64]) -> usize {
    let mut best = 0;
    for i in 1..beta.len().saturating_sub(1) {
        if beta[i + 1].abs() > beta[best + 1].abs() {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: &[&[f64]]) -> Matrix {
        let mut x = Matrix::zeros(rows.len(), rows[0].len());
        for (i, row) in rows.iter().enumerate() {
            x.row_mut(i).copy_from_slice(row);
        }
        x
    }

    #[test]
    fn two_by_two_table_gives_its_log_odds_ratio() {
        // 1 of 4 without, 3 of 4 with: odds 1/3 and 3, so intercept -ln 3 and coefficient 2 ln 3.
        let x = matrix(&[&[0.0], &[0.0], &[0.0], &[0.0], &[1.0], &[1.0], &[1.0], &[1.0]]);
        let y = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0];
        let rows: Vec<usize> = (0..8).collect();
        let fit = fit(&x, &y, &rows, 0.0, None).unwrap();
        assert!((fit.intercept + 3f64.ln()).abs() < 1e-9);
        assert!((fit.coefficients[0] - 2.0 * 3f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn no_answer_is_told_apart_and_a_penalty_always_has_one() {
        let separated = matrix(&[&[-1.0], &[-0.5], &[0.5], &[1.0]]);
        let y = [0.0, 0.0, 1.0, 1.0];
        let rows = [0, 1, 2, 3];
        assert_eq!(fit(&separated, &y, &rows, 0.0, None), Err(NoFit::Separated(0)));
        let ridge = fit(&separated, &y, &rows, 0.01, None).unwrap();
        assert!(ridge.coefficients[0] > 1.0 && ridge.coefficients[0] < 20.0);
        let doubled = matrix(&[&[1.0, 2.0], &[2.0, 4.0], &[3.0, 6.0], &[4.0, 8.0]]);
        let y = [0.0, 1.0, 0.0, 1.0];
        assert_eq!(fit(&doubled, &y, &rows, 0.0, None), Err(NoFit::Collinear(1)));
        assert!(fit(&doubled, &y, &rows, 0.01, None).is_ok());
    }

    #[test]
    fn a_warm_start_changes_the_steps_and_not_the_answer() {
        let x = matrix(&[&[0.3, 1.0], &[-1.0, 0.2], &[0.9, -0.4], &[0.1, 0.1], &[-0.7, -1.0], &[1.5, 0.6]]);
        let y = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0];
        let rows: Vec<usize> = (0..6).collect();
        let cold = fit(&x, &y, &rows, 0.1, None).unwrap();
        let far = fit(&x, &y, &rows, 10.0, None).unwrap();
        let warm = fit(&x, &y, &rows, 0.1, Some(&far)).unwrap();
        for (a, b) in cold.coefficients.iter().zip(&warm.coefficients) {
            assert!((a - b).abs() < 1e-8);
        }
    }
}
