//! Who benefits, on larger tables: the X-learner (Künzel 2019) on boosted trees.
//!
//! Trees say for each group what the risk is; the other group's trees then say what each customer's risk would have
//! been, and the difference to what happened is learnt directly, held back strongly: small trees of large leaves, as
//! many as rows kept apart bear. Both groups' answers are mixed by the share that got the action, so that the larger
//! group, which knows more, weighs more.

use crate::{
    error::ChurnError,
    features::Dataset,
    forest::{binned, unusable},
    special::sigmoid,
    trees::{
        Trees,
        bins::Binned,
        boost::{BoostOptions, Objective, boost},
        grow::GrowOptions,
    },
};

/// What is predicted of one customer.
pub(super) struct Prediction {
    pub with: f64,
    pub without: f64,
    /// Risk without the action less risk with it.
    pub benefit: f64,
}

/// Trees of both groups.
pub(super) struct XLearner {
    risk: [Trees; 2],
    benefit: [Trees; 2],
    share: f64,
}

/// Every fifth row is kept apart to say how many trees are enough.
const APART: usize = 5;

impl XLearner {
    /// Learns from the listed rows; `treated` says who got the action, `share` is the chance of it.
    pub fn fit(
        data: &Dataset,
        rows: &[usize],
        treated: impl Fn(usize) -> bool,
        share: f64,
        seed: u64,
    ) -> Result<Self, ChurnError> {
        let binned = binned(data, rows);
        let arms = [false, true]
            .map(|arm| rows.iter().copied().filter(|row| treated(*row) == arm).collect::<Vec<usize>>());
        let [without, with] = &arms;
        let risk = [
            cautious(&binned, &data.y, without, Objective::LogOdds, seed)?,
            cautious(&binned, &data.y, with, Objective::LogOdds, seed)?,
        ];
        // What the other group's trees say would have happened, against what did.
        let mut gained = vec![0.0; data.rows()];
        let mut values = Vec::new();
        for &row in rows {
            data.row_into(row, &mut values);
            let happened = f64::from(u8::from(data.is_yes(row)));
            let [risk_without, risk_with] = &risk;
            if let Some(slot) = gained.get_mut(row) {
                *slot = if treated(row) {
                    sigmoid(risk_without.score(&values)) - happened
                } else {
                    happened - sigmoid(risk_with.score(&values))
                };
            }
        }
        let benefit = [
            cautious(&binned, &gained, without, Objective::Mean, seed)?,
            cautious(&binned, &gained, with, Objective::Mean, seed)?,
        ];
        Ok(Self { risk, benefit, share })
    }

    /// What is predicted of one row of values.
    pub fn predict(&self, values: &[f64]) -> Prediction {
        let [without, with] = &self.risk;
        let [by_untreated, by_treated] = &self.benefit;
        let benefit = self.share * by_untreated.score(values) + (1.0 - self.share) * by_treated.score(values);
        Prediction { with: sigmoid(with.score(values)), without: sigmoid(without.score(values)), benefit }
    }
}

/// Small trees of large leaves: as many as rows kept apart bear, then grown on all rows.
fn cautious(
    binned: &Binned,
    y: &[f64],
    rows: &[usize],
    objective: Objective,
    seed: u64,
) -> Result<Trees, ChurnError> {
    let (mut learn, mut apart) = (Vec::new(), Vec::new());
    for (index, row) in rows.iter().enumerate() {
        if index % APART == 0 { apart.push(*row) } else { learn.push(*row) }
    }
    let options = BoostOptions {
        objective,
        trees: 200,
        grow: GrowOptions { leaves: 5, leaf_rows: (rows.len() / 40).max(20), l2: 5.0, shrinkage: 0.1 },
        column_share: 1.0,
        row_share: 1.0,
        patience: 15,
        seed,
    };
    let run = boost(binned, y, &learn, &apart, None, &options).map_err(unusable)?;
    let count = run.losses.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(count, _)| count);
    let options = BoostOptions { trees: count, patience: 0, ..options };
    Ok(boost(binned, y, rows, &[], None, &options).map_err(unusable)?.trees)
}
