//! Tables as found: tiny, wide, constant, collinear, separated, blank, with categories. Each handled and said.

use crate::data::{agency, csv, five};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vigie_churn::{ChurnError, FitOptions, Lang, Model, Penalty, Plan, PlanOptions, Table, train};

fn table(names: &[&str], rows: usize, cell: impl Fn(usize, &str) -> String) -> Table {
    let mut table = Table::new(names.iter().copied()).unwrap();
    for row in 0..rows {
        let cells: Vec<String> = names.iter().map(|name| cell(row, name)).collect();
        let cells: Vec<Option<&str>> = cells.iter().map(|cell| Some(cell.as_str())).collect();
        table.push_row(&cells).unwrap();
    }
    table
}

fn fit(table: &Table, options: &FitOptions) -> Result<Model, ChurnError> {
    train(table, &Plan::infer(table, &PlanOptions::for_target("churn"))?, options)
}

fn noisy(row: usize) -> f64 {
    (row * 7919 % 1009) as f64 / 100.9
}

#[test]
fn twenty_rows_give_a_cautious_model() {
    for leavers in [2, 3, 10] {
        let table = table(&["usage", "sites", "churn"], 20, |row, name| match name {
            "usage" => format!("{:.2}", noisy(row)),
            "sites" => (row * 7 % 5).to_string(),
            _ => u8::from(row < leavers).to_string(),
        });
        let model = fit(&table, &FitOptions::default()).unwrap();
        let metrics = model.card().metrics.as_ref().unwrap();
        assert_eq!(metrics.folds, leavers.min(5));
        assert!(metrics.auc.high - metrics.auc.low > 0.1, "little data, wide interval: {:?}", metrics.auc);
        let row = model.row_of(&[Some(5.0), Some(2.0)]);
        let p = model.score(&row).probability;
        assert!(p > 0.005 && p < 0.9, "no certainty from twenty rows: {p}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused_with_the_reason() {
    let check = |rows: usize, cell: &dyn Fn(usize, &str) -> String, options: FitOptions, expect: &str| {
        let error = fit(&table(&["usage", "other", "churn"], rows, cell), &options).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    let churn = |row: usize| u8::from(noisy(row) + noisy(row * 3 + 1) > 11.0).to_string();
    let plain = |row: usize, name: &str| match name {
        "usage" => format!("{:.3}", noisy(row)),
        "other" => format!("{:.3}", 2.0 * noisy(row) + 1.0),
        _ => churn(row),
    };
    check(200, &plain, FitOptions::unpenalised(), "cannot be told apart");
    check(
        200,
        &|r, n| if n == "churn" { "1".into() } else { plain(r, n) },
        FitOptions::default(),
        "both answers",
    );
    let constant = |r: usize, n: &str| if n == "churn" { churn(r) } else { "7".to_owned() };
    check(200, &constant, FitOptions::default(), "no column is left to learn from");
    let lone = |r: usize, n: &str| if n == "churn" { u8::from(r == 3).to_string() } else { plain(r, n) };
    check(50, &lone, FitOptions::default(), "at least 2 are needed");
    let separated = |r: usize, n: &str| match n {
        "churn" => u8::from(r >= 12).to_string(),
        "other" => (r * 7 % 5).to_string(),
        _ => format!("{}.5", r * r),
    };
    check(24, &separated, FitOptions::unpenalised(), "separate the two answers");
    check(50, &plain, FitOptions { threshold: 1.0, ..FitOptions::default() }, "threshold");
    check(50, &plain, FitOptions { folds: 1, ..FitOptions::default() }, "folds");
    check(50, &plain, FitOptions { penalty: Penalty::Fixed(-1.0), ..FitOptions::default() }, "penalty");
    check(
        50,
        &plain,
        FitOptions { columns: Some(vec!["age".into()]), ..FitOptions::default() },
        "no column \"age\"",
    );
    check(
        50,
        &plain,
        FitOptions { columns: Some(vec!["churn".into()]), ..FitOptions::default() },
        "its role is target",
    );
}

#[test]
fn collinear_and_separated_columns_are_no_trouble_with_a_penalty() {
    let table = table(&["a", "b", "churn"], 300, |row, name| match name {
        "a" => format!("{:.3}", noisy(row)),
        "b" => format!("{:.3}", 2.0 * noisy(row)),
        _ => u8::from(noisy(row) + 0.8 * noisy(row * 5 + 2) > 9.0).to_string(),
    });
    let model = fit(&table, &FitOptions { repeats: 1, ..FitOptions::default() }).unwrap();
    let [a, b] = model.card().coefficients.as_slice() else { panic!("two straight lines") };
    assert!((a.per_sd - b.per_sd).abs() < 1e-3, "equal columns share the weight: {a:?} {b:?}");
}

#[test]
fn two_thousand_columns_are_screened_and_said() {
    let names: Vec<String> = (0..1_999).map(|i| format!("x{i}")).chain(["churn".to_owned()]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut table = Table::new(names).unwrap();
    for _ in 0..300 {
        let values: Vec<f64> = (0..1_999).map(|_| rng.random_range(-1.0..1.0)).collect();
        let churn = values[10] + values[20] + rng.random_range(-0.5..0.5) > 0.3;
        let mut cells: Vec<String> = values.iter().map(|v| format!("{v:.3}")).collect();
        cells.push(u8::from(churn).to_string());
        table.push_row(&cells.iter().map(|c| Some(c.as_str())).collect::<Vec<_>>()).unwrap();
    }
    let model = fit(&table, &FitOptions { repeats: 1, replicates: 50, ..FitOptions::default() }).unwrap();
    assert!(model.card().notes[0].text(Lang::En).contains("too many for 300 rows"));
    let metrics = model.card().metrics.as_ref().unwrap();
    assert!(metrics.auc.estimate > 0.75, "the two that matter are found: {:?}", metrics.auc);
    let top = model.explain(&model.row_of(&vec![Some(1.0); 1_999])).reasons;
    assert!(top.iter().take(2).all(|reason| ["x10", "x20"].contains(&reason.name.as_str())));
    assert!(fit(&table, &FitOptions::unpenalised()).unwrap_err().to_string().contains("no penalty"));
}

#[test]
fn blanks_categories_and_unseen_words_are_read_and_said() {
    let table = table(&["plan", "usage", "churn"], 400, |row, name| match name {
        "plan" => ["basic", "gold", "pro"][row * 7 % 11 % 3].to_owned(),
        "usage" => {
            if row % 4 == 0 {
                String::new()
            } else {
                format!("{:.2}", noisy(row))
            }
        }
        // Blank usage goes with leaving: the blank itself is a sign.
        _ => u8::from(
            noisy(row * 3 + 1)
                + if row % 4 == 0 { 4.0 } else { 0.0 }
                + if row * 7 % 11 % 3 == 2 { 2.0 } else { 0.0 }
                > 8.5,
        )
        .to_string(),
    });
    let model = fit(&table, &FitOptions { repeats: 1, ..FitOptions::default() }).unwrap();
    let score = |plan: &str, usage: Option<&str>| {
        let row = model.row(|name| if name == "plan" { Some(plan) } else { usage }).unwrap();
        (model.score(&row).probability, model.notes(&row), model.explain(&row))
    };
    let (known, notes, _) = score("basic", Some("5"));
    assert!(notes.is_empty(), "{notes:?}");
    let (blank, notes, explanation) = score("basic", None);
    assert!(blank > known + 0.1, "{blank} {known}");
    assert!(notes[0].text(Lang::Fr).contains("inconnu"));
    assert!(explanation.reasons[0].text(Lang::En).starts_with("usage is unknown"));
    let (pro, ..) = score("pro", Some("5"));
    assert!(pro > known);
    let (_, notes, explanation) = score("platinum", Some("50"));
    assert_eq!(notes.len(), 2, "unseen, and out of range: {notes:?}");
    assert!(explanation.reasons.iter().any(|r| r.text(Lang::En).contains("another value")));
    let error = model.row(|name| (name == "usage").then_some("lots")).unwrap_err().to_string();
    assert!(error.contains("\"lots\" is not a number"), "{error}");
}

#[test]
fn a_model_is_judged_on_another_table_and_asked_what_if() {
    let (table, plan) = agency();
    let model =
        train(&table, &plan, &FitOptions { columns: five(), repeats: 0, ..FitOptions::default() }).unwrap();
    assert!(model.card().metrics.is_none(), "not judged unless asked for");
    let metrics = model.judge(&table, 100, 1).unwrap();
    assert!(metrics.auc.estimate > 0.9 && metrics.folds == 0);
    let new = csv("new_customers.csv");
    assert!(model.judge(&new, 100, 1).unwrap_err().to_string().contains("no column \"Churn\""));
    let row = model.row(|name| new.column(name).unwrap().cell(1)).unwrap();
    let change = model.what_if(&row, &[("Num_Sites", Some("8"))]).unwrap();
    assert!(change.to.probability < 0.2 && change.from.probability > 0.9);
    assert_eq!(change.reasons.len(), 1);
    assert_eq!(
        change.reasons[0].text(Lang::Fr),
        "Num_Sites est passé de 15 à 8 : diminue fortement le risque"
    );
    assert!(model.what_if(&row, &[("Sites", None)]).is_err());
    let smallest =
        &model.changes_below(&row, 0.5, |name| name == "Num_Sites" || name == "Account_Manager")[0];
    assert_eq!(smallest.name, "Num_Sites");
    assert!(smallest.to_value.fract() == 0.0 && smallest.to_value < 15.0 && smallest.probability <= 0.5);
    assert!(smallest.text(Lang::En).contains("instead of 15"));
    let one_more =
        model.what_if(&row, &[("Num_Sites", Some(&(smallest.to_value + 1.0).to_string()))]).unwrap();
    assert!(one_more.to.probability > 0.5, "the smallest, not just any");
    let json: serde_json::Value = serde_json::from_str(&model.card().json()).unwrap();
    assert_eq!(json["rows"], 900);
}
