//! Each customer's name, worth and newest probability, in memory: what the live stream and the overview need at every moment.
//!
//! It is read from the compacted topic `customers` at start and follows it and `churn-scores` afterwards: about 150 bytes a customer.

use std::collections::HashMap;

use vigie_contracts::Pii;
use vigie_domain::{CustomerView, Score};

/// One customer.
#[derive(Debug)]
struct Brief {
    name: Pii<String>,
    value: f64,
    probability: f64,
    left: bool,
    /// Whether `probability` has been told to the clients (or was there before this start).
    told: bool,
}

/// All customers.
#[derive(Debug, Default)]
pub(crate) struct Index {
    customers: HashMap<String, Brief>,
}

/// Figures over all customers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Risk {
    pub customers: u64,
    pub left: u64,
    pub at_risk: u64,
    pub value_at_risk: f64,
    pub mean_probability: Option<f64>,
    pub histogram: Vec<u64>,
}

const BINS: usize = 20;

impl Index {
    /// A record of `customers`. `new`: written after this start.
    pub(crate) fn customer(&mut self, view: CustomerView, value: f64, new: bool) {
        let left = view.left();
        let name = view.customer.names;
        let score = view.score;
        let brief = self.customers.entry(score.customer_id.0).or_insert_with(|| Brief {
            name: name.clone(),
            value,
            probability: score.probability,
            left,
            told: !new,
        });
        brief.left = left;
        brief.name = name;
        brief.value = value;
        if !new {
            brief.probability = score.probability;
        }
    }

    /// A record of `churn-scores`: the customer's name, and the probability before.
    pub(crate) fn score(&mut self, score: &Score) -> (String, Option<f64>) {
        match self.customers.get_mut(score.customer_id.as_str()) {
            Some(brief) => {
                let previous = brief.told.then_some(brief.probability);
                brief.probability = score.probability;
                brief.told = true;
                (brief.name.reveal().clone(), previous)
            }
            None => (String::new(), None),
        }
    }

    /// The customer's name.
    pub(crate) fn name(&self, customer: &str) -> Option<String> {
        self.customers.get(customer).map(|brief| brief.name.reveal().clone())
    }

    /// A customer has been erased.
    pub(crate) fn forget(&mut self, customer: &str) {
        self.customers.remove(customer);
    }

    /// Figures over all who have not left, with this threshold.
    pub(crate) fn risk(&self, threshold: f64) -> Risk {
        let mut risk = Risk { histogram: vec![0; BINS], ..Risk::default() };
        let mut sum = 0.0;
        for brief in self.customers.values() {
            if brief.left {
                risk.left += 1;
                continue;
            }
            risk.customers += 1;
            sum += brief.probability;
            if brief.probability >= threshold {
                risk.at_risk += 1;
                risk.value_at_risk += brief.value;
            }
            let bin = ((brief.probability * BINS as f64) as usize).min(BINS - 1);
            if let Some(count) = risk.histogram.get_mut(bin) {
                *count += 1;
            }
        }
        risk.mean_probability = (risk.customers > 0).then(|| sum / risk.customers as f64);
        risk
    }
}
