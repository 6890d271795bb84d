//! Looks for columns that know the answer already, and for rows that occur twice.

use super::{Plan, PlanOptions, Role, Warning};
use crate::{cells, error::ChurnError, metrics, table::Table, words::Words};
use rustc_hash::{FxHashMap, FxHashSet};
use xxhash_rust::xxh3::Xxh3;

/// From this single-column AUC on, a column is named in a warning.
const SUSPICIOUS: f64 = 0.97;
/// From this one on, it is left out (unless its role was given by hand).
const CERTAIN: f64 = 0.995;
/// Below this number of rows of each answer, a perfect column is just luck.
const ROWS_NEEDED: usize = 15;

pub(super) fn look(table: &Table, options: &PlanOptions, plan: &mut Plan) -> Result<(), ChurnError> {
    let target = table.column(&plan.target)?;
    let answers: Vec<Option<f64>> =
        target.cells().map(|cell| cell.map(|text| f64::from(u8::from(text == plan.positive)))).collect();
    let yes = answers.iter().flatten().filter(|y| **y > 0.5).count();
    let known = answers.iter().flatten().count();
    if yes >= ROWS_NEEDED && known - yes >= ROWS_NEEDED {
        let as_of_day = plan.as_of_day.unwrap_or(0.0);
        for column in &mut plan.columns {
            if !column.role.is_feature() {
                continue;
            }
            let cells = table.column(&column.name)?;
            let numbers: Vec<Option<f64>> = match column.role {
                Role::Category => out_of_row_rates(cells.cells(), &answers),
                Role::Boolean | Role::Treatment => cells
                    .cells()
                    .map(|c| c.and_then(cells::boolean).map(|b| f64::from(u8::from(b))))
                    .collect(),
                Role::Date => cells
                    .cells()
                    .map(|c| c.and_then(|text| cells::day_number(text, column.dates)).map(|d| as_of_day - d))
                    .collect(),
                _ => cells.cells().map(|c| c.and_then(|text| cells::number(text, column.format))).collect(),
            };
            let alone = lone_auc(&numbers, &answers, column.role == Role::Category);
            if alone < SUSPICIOUS {
                continue;
            }
            let certain = alone >= CERTAIN && !options.roles.contains_key(&column.name);
            let (done_en, done_fr) = if certain && column.role != Role::Treatment {
                column.role = Role::LeftOut;
                column.reason = Words::new(
                    format!("tells the answer alone (AUC {alone:.3}): surely a leak"),
                    format!("donne la réponse à elle seule (AUC {alone:.3}) : sûrement une fuite"),
                );
                ("left out; give it a role by hand to keep it", "écartée ; donnez-lui un rôle pour la garder")
            } else {
                (
                    "kept; check that it is known before the outcome",
                    "gardée ; vérifiez qu’elle est connue avant l’issue",
                )
            };
            plan.warnings.push(Warning {
                column: Some(column.name.clone()),
                words: Words::new(
                    format!("{} predicts nearly alone (AUC {alone:.3}): {done_en}", column.name),
                    format!("{} prédit presque seule (AUC {alone:.3}) : {done_fr}", column.name),
                ),
            });
        }
    }
    let repeated = repeated_rows(table);
    if repeated > 0 {
        plan.warnings.push(Warning {
            column: None,
            words: Words::new(
                format!("{repeated} rows repeat an earlier row in each cell: figures may look better than they are"),
                format!(
                    "{repeated} lignes répètent une ligne précédente : les mesures peuvent paraître meilleures qu’elles ne sont"
                ),
            ),
        });
    }
    Ok(())
}

/// The best AUC that the column reaches alone, by its value in either direction or by being missing. Rates of
/// categories count in their own direction only: leaving a row out of its own rate turns noise round.
fn lone_auc(numbers: &[Option<f64>], answers: &[Option<f64>], rates: bool) -> f64 {
    let mut y = Vec::new();
    let (mut value, mut blank) = (Vec::new(), Vec::new());
    let (mut present_y, mut present) = (Vec::new(), Vec::new());
    for (number, answer) in numbers.iter().zip(answers) {
        let Some(answer) = *answer else { continue };
        y.push(answer);
        blank.push(if number.is_none() { 1.0 } else { 0.0 });
        value.push(number.unwrap_or(f64::NEG_INFINITY));
        if let Some(number) = *number {
            present_y.push(answer);
            present.push(number);
        }
    }
    let fold = |auc: Option<f64>| auc.map_or(0.5, |a| a.max(1.0 - a));
    let by_blank = fold(metrics::auc(&y, &blank));
    let of_present = match metrics::auc(&present_y, &present) {
        Some(auc) if present.len() * 2 >= y.len() => {
            if rates {
                auc
            } else {
                auc.max(1.0 - auc)
            }
        }
        _ => 0.5,
    };
    if rates {
        by_blank.max(of_present)
    } else {
        by_blank.max(of_present).max(fold(metrics::auc(&y, &value)))
    }
}

/// For each row, the share of yes among the *other* rows of its category, so that a rare category is no proof.
fn out_of_row_rates<'a>(
    cells: impl Iterator<Item = Option<&'a str>>,
    answers: &[Option<f64>],
) -> Vec<Option<f64>> {
    let cells: Vec<Option<&str>> = cells.collect();
    let mut counts: FxHashMap<&str, (f64, f64)> = FxHashMap::default();
    for (cell, answer) in cells.iter().zip(answers) {
        if let (Some(cell), Some(answer)) = (cell, answer) {
            let entry = counts.entry(cell).or_default();
            entry.0 += answer;
            entry.1 += 1.0;
        }
    }
    let rate = answers.iter().flatten().sum::<f64>() / answers.iter().flatten().count().max(1) as f64;
    cells
        .iter()
        .zip(answers)
        .map(|(cell, answer)| {
            let (yes, all) = counts.get((*cell)?)?;
            let own = (*answer)?;
            Some((yes - own + rate) / (all - 1.0 + 1.0))
        })
        .collect()
}

fn repeated_rows(table: &Table) -> usize {
    let mut seen = FxHashSet::default();
    let mut repeated = 0;
    for row in 0..table.rows() {
        let mut hasher = Xxh3::new();
        for column in table.columns() {
            let cell = column.cell(row);
            hasher.update(&cell.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
            hasher.update(cell.unwrap_or_default().as_bytes());
        }
        repeated += usize::from(!seen.insert(hasher.digest128()));
    }
    repeated
}
