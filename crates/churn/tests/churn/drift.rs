//! Drift is noticed where there is some, and not where chance or a small sample explains it.

use crate::data::{agency, five};
use vigie_churn::drift::DriftVerdict;
use vigie_churn::{FeatureRow, FitOptions, Lang, train};

#[test]
fn verdicts_follow_the_change_and_the_sample() {
    let (table, plan) = agency();
    let model =
        train(&table, &plan, &FitOptions { columns: five(), repeats: 0, ..FitOptions::default() }).unwrap();
    let rows = |count: usize, moved_every: usize, blank: bool| -> Vec<FeatureRow> {
        (0..count)
            .map(|i| {
                let cell = |name: &str| {
                    table.column(name).unwrap().cell(i * 7 % 900).unwrap().parse::<f64>().unwrap()
                };
                let age = (!blank || i % 3 != 0).then(|| cell("Age"));
                model.row_of(&[
                    age,
                    Some(cell("Total_Purchase")),
                    Some(cell("Account_Manager")),
                    Some(cell("Years")),
                    Some(cell("Num_Sites") + if i % moved_every == 0 { 4.0 } else { 0.0 }),
                ])
            })
            .collect()
    };
    let check = |rows: Vec<FeatureRow>, expect: &[(&str, DriftVerdict)]| {
        let drift = model.drift(&rows);
        for (name, verdict) in expect {
            let found = drift.iter().find(|column| column.name == *name).unwrap();
            assert_eq!(found.verdict, *verdict, "{found:?}");
            assert!(found.words().text(Lang::Fr).starts_with(name));
        }
    };
    use DriftVerdict::{Changed, Drifted, Stable, TooFew};
    check(rows(900, 1_000, false), &[("Age", Stable), ("Num_Sites", Stable), ("Account_Manager", Stable)]);
    check(rows(300, 1_000, false), &[("Age", Stable), ("Num_Sites", Stable)]);
    check(rows(900, 2, false), &[("Num_Sites", Drifted), ("Age", Stable)]);
    check(rows(900, 5, false), &[("Num_Sites", Changed)]);
    check(rows(20, 2, false), &[("Num_Sites", TooFew)]);
    check(rows(900, 1_000, true), &[("Age", Drifted)]);
}
