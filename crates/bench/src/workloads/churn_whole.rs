//! `churn-whole`: what a person waits for: `vigie train` on the agency's 900 rows with everything (roles, choice of model, judging,
//! intervals, effect of the action), training on a large table from text to model, and an assignment.

use std::hint::black_box;

use anyhow::{Context, Result};
use clap::Args;
use vigie_churn::assign::{Client, Manager, Weights, propose};
use vigie_churn::{FitOptions, Plan, PlanOptions, Table, train};

use super::churn_quality::tables::{Chance, TABLES, make};
use crate::measure::{Figure, Meter};

/// Trains whole models and assigns.
#[derive(Debug, Clone, Args)]
pub struct ChurnWhole {
    /// Rows of the large table.
    #[arg(long, default_value_t = 100_000)]
    pub rows: usize,
    /// Customers to be assigned.
    #[arg(long, default_value_t = 100_000)]
    pub customers: usize,
    /// Managers.
    #[arg(long, default_value_t = 500)]
    pub managers: usize,
    /// Customers that each manager can take, one assignment for each number.
    #[arg(long, value_delimiter = ',', default_values_t = [50, 150, 200])]
    pub capacities: Vec<usize>,
    /// Only the assignment.
    #[arg(long)]
    pub assign_only: bool,
}

impl ChurnWhole {
    /// Runs it.
    pub fn run(&self) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        if !self.assign_only {
            figures.push(agency()?);
            if self.rows > 0 {
                figures.push(self.large()?);
            }
        }
        let (clients, managers) = self.market();
        for capacity in &self.capacities {
            let managers: Vec<Manager> =
                managers.iter().map(|m| Manager { capacity: *capacity, ..m.clone() }).collect();
            let meter = Meter::start()?;
            let proposal = propose(&clients, &managers, Weights::default(), None, 1)?;
            let figure = meter.stop("churn-assign", "none", clients.len() as u64)?;
            figures.push(
                figure
                    .with("managers", managers.len())
                    .with("capacity", *capacity)
                    .with("pairs", proposal.pairs.len())
                    .with("more_than_by_risk", proposal.comparison.proposal / proposal.comparison.by_risk)
                    .with(
                        "more_than_at_random",
                        proposal.comparison.proposal / proposal.comparison.at_random,
                    ),
            );
        }
        Ok(figures)
    }

    fn large(&self) -> Result<Figure> {
        let (name, _, maker) =
            TABLES.into_iter().find(|(name, ..)| *name == "large").context("no large table")?;
        let made = make(name, self.rows, maker, 1);
        let all: Vec<usize> = (0..made.rows.len()).collect();
        let meter = Meter::start()?;
        let table = made.table(&all)?;
        let plan = Plan::infer(&table, &PlanOptions::for_target("churn"))?;
        let model = train(&table, &plan, &FitOptions::default())?;
        let bytes = model.to_bytes()?.len();
        let figure = meter.stop("churn-train-large", "none", self.rows as u64)?;
        let metrics = model.card().metrics.as_ref().context("the model was not judged")?;
        Ok(figure
            .with("columns", made.names.len() - 1)
            .with("auc", metrics.auc.estimate)
            .with("log_loss", metrics.log_loss.estimate)
            .with("model_bytes", bytes)
            .with("chosen", model.card().chosen.en.clone()))
    }

    fn market(&self) -> (Vec<Client>, Vec<Manager>) {
        let mut chance = Chance::new(5);
        let mut below = |count: usize| ((chance.unit() * count as f64) as usize).min(count.saturating_sub(1));
        let managers: Vec<Manager> = (0..self.managers)
            .map(|i| Manager {
                id: format!("m{i}"),
                capacity: 0,
                location: Some(format!("city {}", below(20))),
                skills: (0..2).map(|_| format!("skill {}", below(6))).collect(),
            })
            .collect();
        let clients = (0..self.customers)
            .map(|i| {
                let probability = (below(1_000_000) as f64 / 1e6).powi(3);
                Client {
                    id: format!("c{i}"),
                    probability,
                    gross_saved: probability * 0.2 * (100 + below(19_900)) as f64,
                    location: Some(format!("city {}", below(20))),
                    needs: (0..below(3)).map(|_| format!("skill {}", below(7))).collect(),
                    known_by: (below(10) < 3).then(|| format!("m{}", below(self.managers))),
                }
            })
            .collect();
        (clients, managers)
    }
}

/// The table of 900 rows that comes with the program.
fn agency() -> Result<Figure> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/customer_churn.csv"));
    let mut lines = text.lines().map(cells);
    let names = lines.next().context("the table is empty")?;
    let meter = Meter::start()?;
    let mut table = Table::new(names)?;
    for row in lines {
        let row: Vec<Option<&str>> = row.iter().map(|cell| Some(cell.as_str())).collect();
        table.push_row(&row)?;
    }
    let options =
        PlanOptions { treatment: Some("Account_Manager".to_owned()), ..PlanOptions::for_target("Churn") };
    let plan = Plan::infer(&table, &options)?;
    let model = train(&table, &plan, &FitOptions { effect: true, seed: 42, ..FitOptions::default() })?;
    black_box(model.to_bytes()?);
    let figure = meter.stop("churn-train-agency", "none", table.rows() as u64)?;
    let metrics = model.card().metrics.as_ref().context("the model was not judged")?;
    Ok(figure
        .with("auc", metrics.auc.estimate)
        .with("log_loss", metrics.log_loss.estimate)
        .with("repeats", metrics.repeats)
        .with("chosen", model.card().chosen.en.clone()))
}

/// The cells of one line of that table, whose quotes hold commas and nothing else.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => {
                if let Some(last) = cells.last_mut() {
                    last.push(other);
                }
            }
        }
    }
    cells
}
